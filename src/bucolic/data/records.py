"""The records of annotation files, checked one by one and read some thousands at a time.

What is as it must be, which is nearly everything, is checked and decoded by pydantic's parser of
JSON alone. A batch that holds something else is read again, record by record, to spell numbers as
numbers or to say which record it is.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError

from bucolic.base.errors import DataError
from bucolic.data.coco import Kind, SourceSplit
from bucolic.data.json_file import CutFile, cut_json, parse_json, records_of
from bucolic.data.names import require_below

BATCH = 8192
LISTS = ("images", "captions", "annotations", "categories")
MEND = "mend it in dataset.root"  # where the file came from, if what was read is a copy
EXACT = 2**53  # above it, floats are no longer each whole number
STRICT = ConfigDict(strict=True)  # a text where a number belongs would join nothing below


# As wide as their columns in data/selection.py.
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = Annotated[int, Field(ge=-(2**31), lt=2**31)]
# Half of a surrogate pair is text to JSON, but has no length that could be compared.
Text = Annotated[str, Field(max_length=1_000_000)]
Name = Annotated[Text, AfterValidator(require_below)]
Record = TypeVar("Record")


@dataclass(frozen=True)
class Document:
    """One annotation file.

    Attributes:
        kind: what it holds.
        split: of which images.
        file: its content.
        told: what messages call it.
        is_new: whether nobody has read it yet, so that keys which stand twice are looked for.
    """

    kind: Kind
    split: SourceSplit
    file: CutFile
    told: str
    is_new: bool = False

    def error(self, what: str) -> DataError:
        """What is wrong with it, in one line."""
        return DataError(f"{self.told} is not a COCO {self.kind} file: {what}")


def open_document(
    path: Path, kind: Kind, split: SourceSplit, *, told: str | None = None, is_new: bool = False
) -> Document:
    """Open an annotation file, without reading its records.

    Raises:
        DataError: it is missing, or no JSON.
    """
    told = told or str(path)
    try:
        with path.open("rb") as file:
            content = mmap(file.fileno(), 0, access=ACCESS_READ) if path.stat().st_size else b""
    except FileNotFoundError:
        raise DataError(f"{path} is missing: check dataset.root in params.yaml") from None
    return Document(kind, split, cut_json(content, LISTS, told), told, is_new)


def batches(
    document: Document, part: str, records: TypeAdapter[list[Record]]
) -> Iterator[list[Record]]:
    """The records of one list of the file, in its order.

    Raises:
        DataError: there is no such list, or a record is not as it must be: the first is named.
    """
    if part not in document.file.lists:
        raise document.error(f"it holds no list {part!r}: check dataset.root in params.yaml")
    for number, batch in enumerate(document.file.batches(part, BATCH)):
        if document.is_new:
            parse_json(batch, document.told)
        try:
            yield records.validate_json(batch)
        except ValidationError:
            yield _carefully(document, part, number * BATCH, batch, records)


def _carefully(
    document: Document,
    part: str,
    start: int,
    batch: bytes,
    records: TypeAdapter[list[Record]],
) -> list[Record]:
    """The records of a batch that begins at `start`, each by itself."""
    found: list[Record] = []
    for place, record in enumerate(records_of(batch), start):
        content = parse_json(bytes(record), document.told)
        try:
            found += _validated(records, content)
        except ValidationError as error:
            raise document.error(told_problem(error, f"{part}[{place}]", skipped=1)) from None
    return found


def _validated(records: TypeAdapter[list[Record]], content: Any) -> list[Record]:
    try:
        return records.validate_python([content])
    except ValidationError:
        return records.validate_python([_respelt(content)])


def _respelt(record: Any) -> Any:
    """A record with numbers as numbers: some tools write 640.0, or a licence's number as text."""
    if not isinstance(record, dict):
        return record
    whole = {key: _whole(value) for key, value in record.items()}
    if isinstance(name := record.get("license"), str):
        whole["license"] = int(name) if name.strip().isdecimal() else None
    return whole


def _whole(value: Any) -> Any:
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= EXACT
    return int(value) if is_whole else value


def told_problem(error: ValidationError, place: str, *, skipped: int = 0) -> str:
    """The first problem with its place, whose first `skipped` steps `place` tells already."""
    problem = error.errors()[0]
    where = ".".join([place, *map(str, problem["loc"][skipped:])])
    lacks = problem["type"] == "missing"
    given = "" if lacks else f", not {json.dumps(problem['input'])[:60]}"
    return f"{where}: {problem['msg']}{given}: {MEND}"


def require_unique(ids: np.ndarray, kind: str, told: str) -> None:
    """Ids join everything below, so no two records may share one.

    Args:
        ids: int64 [n], over all files.
        kind: of record, for the message.
        told: what the message calls those files.

    Raises:
        DataError: the first id that stands there twice.
    """
    if np.diff(np.sort(ids)).all():
        return
    numbers, places, counts = np.unique(ids, return_index=True, return_counts=True)
    repeated = np.flatnonzero(counts > 1)
    first = repeated[np.argmin(places[repeated])]
    raise DataError(
        f"{told}: {kind} id {numbers[first]} stands there {counts[first]} times: "
        "give each its own, over all files"
    )

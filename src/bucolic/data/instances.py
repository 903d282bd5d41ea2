"""instances_SPLIT.json: which images show which of COCO's categories."""

import io
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from difflib import get_close_matches
from pathlib import Path
from typing import NotRequired

import numpy as np
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from bucolic.base.errors import DataError
from bucolic.base.keywords import plain
from bucolic.data.coco import SOURCE_SPLITS, annotation_file
from bucolic.data.records import (
    MEND,
    STRICT,
    Document,
    Id,
    Text,
    batches,
    open_document,
    require_unique,
)


class _CategoryRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    id: Id
    name: Text


class _InstanceRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    image_id: Id
    category_id: Id
    area: NotRequired[float | None]


_CATEGORIES, _INSTANCES = TypeAdapter(list[_CategoryRecord]), TypeAdapter(list[_InstanceRecord])


def images_by_category(
    folder: Path, names: Collection[str], *, min_area: float = 0
) -> dict[str, set[int]]:
    """For each named COCO category, the ids of the images that show an instance of it.

    A category may stand in one split's file alone, and its name in another case.

    Args:
        folder: of annotation files.
        names: of categories.
        min_area: least area of an instance that counts, in pixels of the annotated size.

    Raises:
        DataError: no instances file, a record that is not as it must be, or a name that is no
            category of any file.
    """
    paths = {split: annotation_file(folder, "instances", split) for split in SOURCE_SPLITS}
    there = {split: path for split, path in paths.items() if path.exists()}
    if not there:
        raise DataError(f"{folder} holds no instances file, which filter.categories needs")
    found: defaultdict[str, set[int]] = defaultdict(set)
    known: dict[str, str] = {}
    for split, path in there.items():
        document = open_document(path, "instances", split)
        categories = _categories_of(document)
        known |= {plain(name): name for name in categories.values()}
        for category_id, image_ids in _index(document, categories, min_area).items():
            found[plain(categories[category_id])] |= image_ids
    _require_known(names, known)
    return {name: found[plain(name)] for name in names}


def _require_known(names: Iterable[str], known: Mapping[str, str]) -> None:
    if unknown := sorted(name for name in names if plain(name) not in known):
        near = get_close_matches(plain(unknown[0]), known, 1)
        meant = f": did you mean {known[near[0]]!r}?" if near else ""
        among = sorted(known.values())
        raise DataError(f"filter.categories: {unknown[0]!r} is not among {among}{meant}")


def _index(
    document: Document, categories: Mapping[int, str], min_area: float
) -> dict[int, set[int]]:
    """Category id to the ids of the images that show it."""
    from pycocotools.coco import COCO  # noqa: PLC0415 - heavy, and only some themes need it

    instances = COCO()
    # pycocotools asks for more than is needed here, and checks none of it.
    instances.dataset = {
        "annotations": [
            {"id": place, **instance}
            for place, instance in enumerate(_instances_of(document, categories))
            if not min_area or _area(document, place, instance) >= min_area
        ],
        "categories": [{"id": number} for number in categories],
    }
    with redirect_stdout(io.StringIO()):  # pycocotools announces each step
        instances.createIndex()
    return {number: set(instances.catToImgs[number]) for number in categories}


def check_instances(document: Document) -> None:
    """Read a file to its end.

    Raises:
        DataError: the first record that is not as it must be.
    """
    for _ in _instances_of(document, _categories_of(document)):
        pass


def _categories_of(document: Document) -> dict[int, str]:
    """The names of its categories by their ids."""
    records = [record for batch in batches(document, "categories", _CATEGORIES) for record in batch]
    require_unique(np.array([record["id"] for record in records]), "category", document.told)
    return {record["id"]: record["name"] for record in records}


def _instances_of(document: Document, categories: Mapping[int, str]) -> Iterator[_InstanceRecord]:
    """Each instance.

    Raises:
        DataError: a record is not as it must be, or of no category of the file.
    """
    place = 0
    for batch in batches(document, "annotations", _INSTANCES):
        for record in batch:
            if (number := record["category_id"]) not in categories:
                where = f"annotations[{place}].category_id"
                raise document.error(f"{where}: {number} is none of its categories: {MEND}")
            yield record
            place += 1


def _area(document: Document, place: int, instance: _InstanceRecord) -> float:
    if (area := instance.get("area")) is None:
        raise document.error(f"annotations[{place}] has no area, which filter.min_area needs")
    return area

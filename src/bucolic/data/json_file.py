"""JSON files whose lists are too long to hold: COCO's captions have 591,753 records.

A file is cut into the records of its lists, which stay the bytes they are in the file, and what
stands beside the lists is parsed. Whoever reads the records parses some thousands at a time.
"""

import json
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from mmap import MADV_DONTNEED, mmap
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bucolic.base.engine import chunked
from bucolic.base.errors import DataError

PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}


@dataclass(frozen=True)
class CutFile:
    """A JSON file, cut.

    Attributes:
        content: the whole file.
        head: what it holds, parsed; the lists that were cut out of it are empty there.
        lists: those lists by their keys, as JSON.
    """

    content: bytes | mmap
    head: Any
    lists: Mapping[str, msgspec.Raw | bytes]

    def count(self, key: str) -> int:
        """How many records a list has."""
        count = len(records_of(self.lists[key]))
        self.forget()
        return count

    def batches(self, key: str, size: int) -> Iterator[bytes]:
        """The records of a list, `size` at once, as a list of JSON in UTF-8.

        Of the file no more is in memory than a batch, but while ends of records are looked for.
        """
        part = self.lists[key]
        try:
            spans = _spans(part, size)
        except msgspec.DecodeError:  # a number that json takes and the standard does not
            for batch in chunked(json.loads(bytes(part)), size):
                yield json.dumps(batch).encode()
            return
        for start, end in spans:
            self.forget()
            yield b"[" + bytes(memoryview(part)[start:end]) + b"]"

    def forget(self) -> None:
        """Hand back the memory of what has been read of a mapped file; the file has it still."""
        if isinstance(self.content, mmap):
            self.content.madvise(MADV_DONTNEED)


def records_of(part: msgspec.Raw | bytes) -> Sequence[msgspec.Raw | bytes]:
    """The records of a list of JSON, each as JSON in UTF-8, without a copy where that can be."""
    try:
        return msgspec.json.decode(part, type=list[msgspec.Raw])
    except msgspec.DecodeError:  # as above
        return [json.dumps(record).encode() for record in json.loads(bytes(part))]


def _spans(part: msgspec.Raw | bytes, size: int) -> list[tuple[int, int]]:
    """Where each batch of a list's records begins and ends, in bytes."""
    records: list[msgspec.Raw] = msgspec.json.decode(part, type=list[msgspec.Raw])
    base, batches = _address(part), chunked(records, size)
    return [
        (_address(first) - base, _address(last) - base + len(memoryview(last)))
        for first, *_, last in ((*batch[:1], *batch[-1:]) for batch in batches)
    ]


def read_json(path: Path) -> Any:
    """Read a JSON file; DataError says where it breaks off."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: check dataset.root in params.yaml") from None


def parse_json(content: bytes | mmap, told: str) -> Any:
    """Parse a JSON file in UTF-8, 16 or 32, with or without a byte order mark.

    Raises:
        DataError: it is no JSON, or gives one key two values; `told` names the file there.
    """
    start = content[:8]
    if packed := next((name for magic, name in PACKED.items() if start.startswith(magic)), None):
        raise DataError(f"{told} is packed ({packed}): unpack it")
    try:
        return json.loads(bytes(content), object_pairs_hook=without_repetition)
    except UnicodeDecodeError as error:
        raise DataError(f"{told} is not valid UTF-8 ({error}): save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{told} is not valid JSON ({error}): mend it or fetch it again") from None


def without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON's; ValueError where a key stands twice in it."""
    content = dict(pairs)
    if len(content) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(
            f"the key {max(counts, key=counts.__getitem__)!r} stands twice in a record"
        )
    return content


def cut_json(content: bytes | mmap, keys: Collection[str], told: str) -> CutFile:
    """Cut a JSON file into the records of its lists `keys`.

    Args:
        content: the file; the records are views of it.
        keys: of lists, where the file has them.
        told: what messages call the file.

    Raises:
        DataError: see `parse_json`. Of the records only their ends are looked for.
    """
    try:
        parts = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, RecursionError):
        # Another encoding, what json takes and the standard does not, or what is broken indeed.
        return _cut_parsed(parse_json(content, told), keys)
    lists = {key: parts[key] for key in keys if key in parts and _is_list(parts[key])}
    head = parse_json(_without(content, lists.values()), told)
    return CutFile(content, head, lists)


def _is_list(part: msgspec.Raw) -> bool:
    return bytes(memoryview(part)[:1]) == b"["


def _cut_parsed(content: Any, keys: Collection[str]) -> CutFile:
    found = content if isinstance(content, dict) else {}
    lists = {key: found[key] for key in keys if isinstance(found.get(key), list)}
    head = found | {key: [] for key in lists} if lists else content
    return CutFile(b"", head, {key: json.dumps(part).encode() for key, part in lists.items()})


def _without(content: bytes | mmap, parts: Collection[msgspec.Raw]) -> bytes:
    """The file with empty lists in the place of those parts of it."""
    base, end, kept = _address(content), 0, []
    for part in sorted(parts, key=_address):
        start = _address(part) - base
        kept += [content[end:start], b"[]"]
        end = start + len(memoryview(part))
    return b"".join([*kept, content[end:]])


def _address(content: bytes | mmap | msgspec.Raw) -> int:
    address: int = np.frombuffer(content, np.uint8).ctypes.data
    return address

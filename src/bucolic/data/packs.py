"""Small contents by name, appended to few large files: a file of its own costs more than it holds.

    FOLDER/<nanoseconds, process>.pack

is a row of records: the sizes of name and content (uint16, uint32), their sha256, name, content.
Each process appends to a pack of its own, so that several may add at once, and what a killed one
left torn is the end of its pack. Of records of one name that of the newest pack counts, and the
last in it.
"""

import hashlib
import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bucolic.base.files import this_process

HEAD = struct.Struct(">HI32s")
CHANGES_APART = 4096  # names that were added since, before they join the others
_RECORD = [("key", np.uint64), ("pack", np.int32), ("start", np.int64)]


class Place(NamedTuple):
    """Where a record begins.

    Attributes:
        pack: the number of its pack.
        start: in bytes.
    """

    pack: int
    start: int


NOWHERE = Place(-1, -1)


class Packs:
    """The packs of one folder. Safe to call from threads and processes.

    What other processes add is seen by a store that is opened, or sent to a process, later on.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = Lock()
        self._packs: list[Path] = []
        self._places: _Places | None = None
        self._own: tuple[int, int, int] | None = None  # number, descriptor, length

    def __reduce__(self) -> tuple[type["Packs"], tuple[Path]]:
        """By its folder: each process opens it for itself."""
        return type(self), (self._folder,)

    def __del__(self) -> None:
        if self._own:
            os.close(self._own[1])

    def holds(self, name: str) -> bool:
        """Whether there is a record of that name."""
        return self._known().find(name) is not None

    def find(self, name: str) -> bytes | None:
        """The content of that name; None where there is none, or it is not whole."""
        place = self._known().find(name)
        if place is None:
            return None
        content = self._content(name, place)
        if content is None:
            self._known().add(name, None)
        return content

    def add(self, name: str, content: bytes) -> None:
        """Keep a content."""
        body = name.encode() + content
        name_size = len(body) - len(content)
        record = HEAD.pack(name_size, len(content), hashlib.sha256(body).digest()) + body
        places = self._known()
        with self._lock:
            number, descriptor, start = self._own or self._new_pack()
            self._own = None  # nothing is appended behind half a record
            try:
                _write_all(descriptor, record)
            except OSError as error:
                os.close(descriptor)
                raise OSError(error.errno, error.strerror, str(self._packs[number])) from None
            self._own = number, descriptor, start + len(record)
        places.add(name, Place(number, start))

    def _content(self, name: str, place: Place) -> bytes | None:
        """That of the record which begins there; None where it is another's, or not whole."""
        try:
            with self._packs[place.pack].open("rb", buffering=0) as file:
                file.seek(place.start)
                head = file.read(HEAD.size)
                if len(head) < HEAD.size:
                    return None
                name_size, content_size, digest = HEAD.unpack(head)
                body = file.read(name_size + content_size)
        except FileNotFoundError:  # the store was deleted under us
            return None
        is_whole = digest == hashlib.sha256(body).digest()
        return body[name_size:] if is_whole and body[:name_size] == name.encode() else None

    def _new_pack(self) -> tuple[int, int, int]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{time.time_ns():020d}-{this_process()}.pack"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._packs.append(path)
        return len(self._packs) - 1, descriptor, 0

    def _known(self) -> "_Places":
        """Where each name is; looked for once."""
        with self._lock:
            if self._places is None:
                self._packs = sorted(self._folder.glob("*.pack"))
                self._places = _Places(
                    (name, Place(number, start))
                    for number, pack in enumerate(self._packs)
                    for name, start in _records(pack)
                )
            return self._places


class _Places:
    """Where the record of each name is.

    A name is known by 64 bits of its digest, in arrays: as text, those of 100,000 images would take
    20 MB, and as much in a dictionary. One holds the latest alone.
    """

    def __init__(self, records: Iterable[tuple[str, Place]]) -> None:
        found = np.fromiter(((_key_of(name), *place) for name, place in records), _RECORD)
        self._known = _by_key(found)
        self._changed: dict[int, Place | None] = {}
        self._merging = Lock()

    def find(self, name: str) -> Place | None:
        """The place; None where there is no such record."""
        key = _key_of(name)
        changed = self._changed  # before the arrays, which are there before it is emptied
        if key in changed:
            return changed[key]
        keys, places = self._known
        at = int(np.searchsorted(keys, np.uint64(key), "right")) - 1
        if at < 0 or keys[at] != key:
            return None
        place = Place(*places[at].tolist())
        return None if place == NOWHERE else place

    def add(self, name: str, place: Place | None) -> None:
        """Remember another place, or that there is none."""
        with self._merging:
            self._changed[_key_of(name)] = place
            if len(self._changed) >= CHANGES_APART:
                self._merge()

    def _merge(self) -> None:
        """Move what changed into the arrays; who looks a name up meanwhile finds it in either."""
        changed = ((key, *(place or NOWHERE)) for key, place in self._changed.items())
        keys, places = self._known
        known = np.empty(len(keys), _RECORD)
        known["key"], known[["pack", "start"]] = keys, places
        # Of a name the later record stays, so that as many are held as there are names.
        both = np.concatenate([known, np.fromiter(changed, _RECORD)])[::-1]
        _, latest = np.unique(both["key"], return_index=True)
        self._known = _by_key(both[latest])
        self._changed = {}


def _by_key(records: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[Any]]:
    """Keys, ascending, and places; the last of a name stays the last."""
    records = records[np.argsort(records["key"], kind="stable")]
    return records["key"].copy(), records[["pack", "start"]].copy()


def _key_of(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])


def _write_all(descriptor: int, record: bytes) -> None:
    """Write a record; where a disk takes a part alone, the next attempt says why."""
    left = memoryview(record)
    while left:
        left = left[os.write(descriptor, left) :]


def _records(pack: Path) -> Iterator[tuple[str, int]]:
    """Names of a pack's records, and where they begin; contents are not looked at."""
    with pack.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        start = 0
        while len(head := file.read(HEAD.size)) == HEAD.size:
            name_size, content_size, _ = HEAD.unpack(head)
            name = file.read(name_size)
            end = start + HEAD.size + name_size + content_size
            if end > size:
                return
            yield name.decode(errors="replace"), start
            file.seek(end)
            start = end

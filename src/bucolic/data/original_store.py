"""Original image files, kept by what they hold: one file for every sha256, whoever asked for it.

    .cache/originals/<first 2 digits>/<sha256>

Data sets, themes and checkouts share the folder, so a file that stands in several is there once.
data/images names files by their sha256; DVC keeps that index and none of the files, which belong
to their authors and can be fetched again. What is written here is whole or not there, and several
processes may write at once. A user's own file that has its second name here may change under it,
so what is read is held against its name.
"""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from bucolic.base.errors import DataError
from bucolic.base.files import link, remove, sweep_below, write_bytes
from bucolic.data.images import ImageRow


class LostError(DataError):
    """Files that an index names are not in the store, or not whole."""


class OriginalStore:
    """The files below one cache. Safe to call from several threads and processes."""

    def __init__(self, cache: Path) -> None:
        self._folder = cache / "originals"

    def add(self, content: bytes, digest: str | None = None, place: Path | None = None) -> str:
        """Keep a file; returns its sha256.

        Args:
            content: its bytes.
            digest: its sha256, where that is known.
            place: a file with that content, where there is one that stays. It is given a second
                name, which takes no room: should its content change, the digest will tell.
        """
        digest = digest or hashlib.sha256(content).hexdigest()
        path = self._path(digest)
        if not self._keeps(digest, len(content), place) and not (place and link(place, path)):
            write_bytes(path, content, lasting=False)
        return digest

    def _keeps(self, digest: str, size_bytes: int, place: Path | None) -> bool:
        """Whether a file is there that holds what it is named by.

        One of that size does, but where it is another's too, who may have changed it.
        """
        path = self._path(digest)
        try:
            found = path.stat()
            shared = found.st_nlink > 1 and not (place and place.samefile(path))
        except FileNotFoundError:  # maybe another thread has just found it damaged
            return False
        return found.st_size == size_bytes and (not shared or self.find(digest) is not None)

    def holds(self, digest: str, size_bytes: int | None = None) -> bool:
        """Whether a file is there, of that size where one is given."""
        try:
            found = self._path(digest).stat().st_size
        except FileNotFoundError:
            return False
        return size_bytes in (None, found)

    def find(self, digest: str) -> bytes | None:
        """A file's bytes; None where it is not there. What holds others is removed."""
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                content, read = file.read(), os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        if hashlib.sha256(content).hexdigest() == digest:
            return content
        if _is_still(path, read):
            remove(path)
        return None

    def read(self, image_id: int, digest: str) -> bytes:
        """The file of an image that is ok, given by its sha256.

        Raises:
            LostError: it is not there, or not whole.
        """
        content = self.find(digest)
        if content is None:
            raise LostError(
                f"the file of image {image_id} is lost from {self._folder}: "
                "bucolic images gets it again"
            )
        return content

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        sweep_below(self._folder)

    def lost(self, rows: Iterable[ImageRow]) -> list[ImageRow]:
        """Those of the rows that are ok whose files are not there, or of another size."""
        good = (row for row in rows if row.status == "ok")
        return [row for row in good if not self.holds(str(row.sha256), row.size_bytes)]

    def _path(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest


def _is_still(path: Path, read: os.stat_result) -> bool:
    """Whether a name means the file that was read, and not one that was put in its place since."""
    try:
        return os.path.samestat(path.stat(), read)
    except FileNotFoundError:
        return False

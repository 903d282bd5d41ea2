"""Which file each fetched image is, so that none is fetched twice.

COCO publishes no digest of a single image. What identifies one is its data set, its source split
and its file name; the data set is known by the sha256 of its annotation archive, which says what
each image shows. Addresses are no part of it: another mirror in source.json finds everything, and
another data set with equal file names finds nothing.

    .cache/names/<first 16 digits of the annotations' sha256>/<source split>/<file name>

holds the sha256 of the image's file, which data/original_store.py keeps. A name that is not plain
(long, with folders, capitals or signs) is kept as ~ and its sha256, so that every file system can
hold it and no two names share a place. Checkouts share the folder, and several processes may write
to it at once; each file is whole or not there.
"""

from pathlib import Path

from bucolic.base.files import remove, sweep_below, write_bytes
from bucolic.data.coco import CaptionedImage
from bucolic.data.images import SHA256
from bucolic.data.names import flat
from bucolic.data.original_store import OriginalStore


class KeptImages:
    """The kept images of one data set. Safe to call from several threads and processes."""

    def __init__(self, cache: Path, annotations_sha256: str) -> None:
        self._folder = cache / "names" / annotations_sha256[:16]
        self._originals = OriginalStore(cache)

    def holds(self, image: CaptionedImage) -> bool:
        """Whether the image was fetched before."""
        digest = self._digest(image)
        return digest is not None and self._originals.holds(digest)

    def read(self, image: CaptionedImage) -> bytes | None:
        """The file's bytes; None where it was not fetched yet, or is lost."""
        digest = self._digest(image)
        return None if digest is None else self._originals.find(digest)

    def add(self, image: CaptionedImage, digest: str) -> None:
        """Know an image's file from now on, which the store of originals has."""
        write_bytes(self._path(image), digest.encode(), lasting=False)

    def forget(self, image: CaptionedImage) -> None:
        """Take no file for an image any more, whose file turned out broken."""
        remove(self._path(image))

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        sweep_below(self._folder)

    def _digest(self, image: CaptionedImage) -> str | None:
        try:
            text = self._path(image).read_text()
        except FileNotFoundError:
            return None
        return text if SHA256.fullmatch(text) else None

    def _path(self, image: CaptionedImage) -> Path:
        return self._folder / image.source_split / flat(image.file_name)

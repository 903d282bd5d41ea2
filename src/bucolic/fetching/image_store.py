"""Fetched images, kept in the cache by what they are, so that none is fetched twice.

COCO publishes no digest of a single image. What identifies one is its data set, its source split
and its file name; the data set is known by the sha256 of its annotation archive, which says what
each image shows. Addresses are no part of it: another mirror in source.json finds everything, and
another data set with equal file names finds nothing.

    .cache/images/<first 16 digits of the annotations' sha256>/<source split>/<file name>

A name that is not plain (long, with folders, capitals or signs) is kept as ~ and its sha256, so
that every file system can hold it and no two names share a place. Checkouts share the folder, and
several processes may write to it at once; each file is whole or not there.
"""

from pathlib import Path

from bucolic.base.files import remove, write_bytes
from bucolic.data.coco import CaptionedImage
from bucolic.data.names import flat


class KeptImages:
    """The kept images of one data set. Safe to call from several threads and processes."""

    def __init__(self, cache: Path, annotations_sha256: str) -> None:
        self._folder = cache / "images" / annotations_sha256[:16]

    def holds(self, image: CaptionedImage) -> bool:
        """Whether the image was fetched before."""
        return self._path(image).exists()

    def read(self, image: CaptionedImage) -> bytes | None:
        """The file's bytes; None where it was not fetched yet."""
        try:
            return self._path(image).read_bytes()
        except FileNotFoundError:
            return None

    def add(self, image: CaptionedImage, content: bytes) -> None:
        """Keep an image."""
        write_bytes(self._path(image), content)

    def forget(self, image: CaptionedImage) -> None:
        """Remove an image that turned out broken."""
        remove(self._path(image))

    def _path(self, image: CaptionedImage) -> Path:
        return self._folder / image.source_split / flat(image.file_name)

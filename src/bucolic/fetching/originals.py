"""The bytes of one original image: out of a folder, an archive, or from its own address."""

import logging
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol
from urllib.parse import quote

from bucolic.base.errors import DataError
from bucolic.data.coco import CaptionedImage, SourceSplit
from bucolic.data.names import canonical, spellings
from bucolic.fetching.archives import open_zip, read_member
from bucolic.fetching.fetch import (
    IMAGE_LIMIT_BYTES,
    RETRIES,
    AwayError,
    NotThereError,
    bytes_to_come,
    fetch_bytes,
    fetch_file,
    find_file,
    open_session,
    read_file,
)
from bucolic.fetching.image_store import KeptImages
from bucolic.fetching.source import CocoSource, FolderSource, ImageSource, require_digested

logger = logging.getLogger(__name__)
COCO_IMAGE_BYTES = 160_000  # mean of COCO 2017
ARCHIVE_SHARE = 0.3  # of an archive's bytes; above it one large transfer beats many small ones
DOUBTED_AFTER = 20  # failures in a row; a server with more is asked once for each image
GIVEN_UP_AFTER_S = 120.0  # without one success, by a server that is doubted
Fetch = Literal["auto", "files", "archive"]


class Originals(Protocol):
    """Reads image files; safe to call from several threads."""

    @property
    def fetched(self) -> set[int] | None:
        """Ids of the images that came one by one over the network; None where none ever does."""

    def read(self, image: CaptionedImage) -> bytes:
        """Bytes of the file.

        Raises:
            NotThereError: it cannot be had for good; its status and message make a row.
            AwayError: a server failed in a way that may pass; other images may come.
            BucolicError: anything else, which concerns more than this image.
        """

    def forget(self, image: CaptionedImage) -> None:
        """Drop a kept copy that turned out broken, so that the next run fetches it again."""

    def forgive(self) -> None:
        """Ask again, as often as in the beginning, whoever stopped answering."""


class FolderOriginals:
    """Images of a folder in COCO layout."""

    fetched: set[int] | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digested: set[Path] = set()

    def read(self, image: CaptionedImage) -> bytes:
        """Read ROOT/SOURCE_SPLIT/FILE_NAME; NotThereError also for what cannot be read there.

        Raises:
            DataError: the file lies where DVC does not look, see `require_digested`.
        """
        path = self._find(image)
        content = read_file(path, f"{image.source_split}/{image.file_name}")
        if path.parent not in self._digested:
            require_digested(self._folder, path.parent)
            self._digested.add(path.parent)
        return content

    def _find(self, image: CaptionedImage) -> Path:
        """The path of the first spelling of the name that is there, else of the name as it is."""
        folder = self._folder / image.source_split
        paths = [folder / name for name in spellings(image.file_name, image.source_split)]
        return next((path for path in paths if os.path.isfile(path)), paths[0])  # noqa: PTH113

    def forget(self, image: CaptionedImage) -> None:
        """Keep the user's file as it is."""

    def forgive(self) -> None:
        """Nobody is asked."""


class ArchiveOriginals:
    """Images inside COCO's zip archives, one for each source split."""

    fetched: set[int] | None = None

    def __init__(self, archives: dict[SourceSplit, Path]) -> None:
        self._bundles = {split: open_zip(path) for split, path in archives.items()}
        self._members = {split: _spelt(bundle) for split, bundle in self._bundles.items()}

    def read(self, image: CaptionedImage) -> bytes:
        """Read SOURCE_SPLIT/FILE_NAME out of the archive."""
        split, members = image.source_split, self._members[image.source_split]
        spelt = (f"{split}/{form}" for form in spellings(image.file_name, split))
        member = next((members[form] for form in spelt if form in members), None)
        if member is None:
            raise NotThereError(f"{split}/{image.file_name}: not in the archive")
        return read_member(self._bundles[split], member, IMAGE_LIMIT_BYTES)

    def forget(self, image: CaptionedImage) -> None:
        """Keep the archive, whose checksum held."""

    def forgive(self) -> None:
        """Nobody is asked."""


class UrlOriginals:
    """Images of one source split, fetched one by one and kept in the cache.

    A server that has been failing for long is asked less and less, so that a stage without network
    ends soon: how long one failing image is tried again would else be spent on each of thousands.
    """

    def __init__(self, source: ImageSource, kept: KeptImages, *, connections: int) -> None:
        self._templates = source.trusted_urls
        self._kept = kept
        self._session = open_session(connections, allow_http=source.allow_http)
        self._failures = 0  # in a row; threads may miscount it by a few, which harms nothing
        self._answered_s = time.monotonic()
        self._locks: dict[str, Lock] = {}
        self.fetched: set[int] = set()

    def read(self, image: CaptionedImage) -> bytes:
        """Read the kept copy, else fetch it from the first address that has it."""
        with self._alone_with(image):
            if (content := self._kept.read(image)) is not None:
                return content
            content = self._fetch(image)
            self._kept.add(image, content)
        self.fetched.add(image.image_id)  # one bytecode, so safe from several threads
        return content

    def forget(self, image: CaptionedImage) -> None:
        """Remove the kept copy."""
        with self._alone_with(image):
            self._kept.forget(image)

    def forgive(self) -> None:
        """Hold no failure against the server any more."""
        self._failures, self._answered_s = 0, time.monotonic()

    def _alone_with(self, image: CaptionedImage) -> Lock:
        """The lock of one kept file: two records may name the same."""
        return self._locks.setdefault(image.file_name, Lock())

    def _fetch(self, image: CaptionedImage) -> bytes:
        urls = image_urls(self._templates, image.file_name)
        if not urls:  # the next run finds the image missing, and takes the archive
            raise AwayError(
                f"{image.source_split}/{image.file_name}: its kept copy was broken, "
                "and source.json has no address for it alone"
            )
        doubted = self._failures >= DOUBTED_AFTER
        if doubted and time.monotonic() - self._answered_s > GIVEN_UP_AFTER_S:
            raise AwayError(f"{urls[0]}: not asked, the server has not answered for long")
        try:
            content = fetch_bytes(self._session, urls, tries=1 if doubted else RETRIES + 1)
        except AwayError:
            self._failures += 1
            raise
        except NotThereError:
            self.forgive()
            raise
        self.forgive()
        return content


class SplitOriginals:
    """The images of each source split, each read in its own way."""

    def __init__(self, ways: Mapping[SourceSplit, Originals]) -> None:
        self._ways = ways

    @property
    def fetched(self) -> set[int] | None:
        """Those of all ways together."""
        sets = [way.fetched for way in self._ways.values() if way.fetched is not None]
        return set().union(*sets) if sets else None

    def read(self, image: CaptionedImage) -> bytes:
        """Read the image in the way of its split."""
        return self._ways[image.source_split].read(image)

    def forget(self, image: CaptionedImage) -> None:
        """Drop its kept copy, where one is kept."""
        self._ways[image.source_split].forget(image)

    def forgive(self) -> None:
        """Forgive in every way."""
        for way in self._ways.values():
            way.forgive()


def open_originals(
    source: CocoSource | FolderSource,
    chosen: Sequence[CaptionedImage],
    cache: Path,
    *,
    fetch: Fetch,
    connections: int,
) -> Originals:
    """Choose for each source split how its images are read, and fetch the archives chosen.

    Args:
        source: where the data set is.
        chosen: the images that will be read.
        cache: folder for what is fetched.
        fetch: one by one, by archive, or whichever moves fewer bytes.
        connections: simultaneous transfers.

    Raises:
        DataError: the source has no images of a split, or an archive is not what it promises.
        TransientError: an archive could not be fetched now.
    """
    if isinstance(source, FolderSource):
        return FolderOriginals(Path(source.folder))
    kept = KeptImages(cache, source.annotations.sha256)
    kept.sweep()
    archives: dict[SourceSplit, Path] = {}
    ways: dict[SourceSplit, Originals] = {}
    for split in sorted({image.source_split for image in chosen}):
        of_split = [image for image in chosen if image.source_split == split]
        about = _image_source(source, split, fetch)
        if path := _archive_to_read(about, of_split, kept, cache / "archives", fetch):
            archives[split] = path
        else:
            # Of its own: neither its server's silence nor its allow_http concerns another split.
            ways[split] = UrlOriginals(about, kept, connections=connections)
    from_archives: Originals = ArchiveOriginals(archives)
    return SplitOriginals(ways | dict.fromkeys(archives, from_archives))


def image_urls(templates: Sequence[str], file_name: str) -> list[str]:
    """The addresses of one image: at each place its canonical name, then the name as it is.

    Whatever means something in an address is quoted in the name.
    """
    names = [quote(name, safe="/") for name in dict.fromkeys((canonical(file_name), file_name))]
    return [url.replace("{file_name}", name) for url in templates for name in names]


def _image_source(source: CocoSource, split: SourceSplit, fetch: Fetch) -> ImageSource:
    if (about := source.images.get(split)) is None:
        raise DataError(f"source.json names no images of {split}: add them under images")
    if fetch == "archive" and about.archive is None:
        raise DataError(f"images of {split} have no archive: set images.fetch: auto")
    if not about.urls and (fetch == "files" or about.archive is None):
        raise DataError(f"images of {split} have no address each: set images.fetch: auto")
    if len(about.trusted_urls) < len(about.urls):
        logger.info("%s: addresses over http after one over https are not used", split)
    return about


def _archive_to_read(
    about: ImageSource,
    images: Sequence[CaptionedImage],
    kept: KeptImages,
    folder: Path,
    fetch: Fetch,
) -> Path | None:
    """The archive to read all images of one split from; None to take them one by one.

    Where nothing is missing in the cache there is nothing to fetch, in whatever way.
    """
    missing, archive = sum(not kept.holds(image) for image in images), about.archive
    counted = f"{images[0].source_split}: {missing:,} of {len(images):,} images to come"
    one_by_one = f"{counted}: one by one, about {missing * COCO_IMAGE_BYTES / 1e9:.2f} GB"
    if archive is None or fetch == "files" or not missing:
        logger.info(one_by_one if missing else counted)
        return None
    folder = folder / archive.sha256[:16]
    if path := find_file(archive, folder):
        logger.info("%s: out of %s, which is on this disk", counted, archive.name)
        return path
    transfer_bytes = bytes_to_come(archive, folder)
    if fetch == "auto" and about.urls and not _is_worth(transfer_bytes, missing):
        logger.info(one_by_one)
        return None
    logger.info("%s: by %s, %.2f GB", counted, archive.name, transfer_bytes / 1e9)
    return fetch_file(open_session(), archive, folder)


def _is_worth(transfer_bytes: int, missing: int) -> bool:
    return missing * COCO_IMAGE_BYTES > ARCHIVE_SHARE * transfer_bytes


def _spelt(bundle: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by their names as they are, and by their canonical ones."""
    members = bundle.infolist()
    canonically = {canonical(member.filename): member for member in members}
    return canonically | {member.filename: member for member in members}

"""The bytes of one original image: out of a folder, an archive, or from its own address."""

import logging
import os
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol
from urllib.parse import quote

from bucolic.base.errors import DataError
from bucolic.base.space import lack_of_space
from bucolic.data.coco import CaptionedImage, SourceSplit
from bucolic.data.names import canonical, spellings
from bucolic.fetching.archives import archive_folder, open_zip, read_member
from bucolic.fetching.fetch import (
    IMAGE_LIMIT_BYTES,
    RemoteFile,
    bytes_to_come,
    fetch_bytes,
    fetch_file,
    find_file,
    read_file,
)
from bucolic.fetching.http import RETRIES, AwayError, NotThereError, open_session
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

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """Whether it came by itself over the network; None where no image ever does."""

    def read(self, image: CaptionedImage) -> bytes:
        """Bytes of the file.

        Raises:
            NotThereError: it cannot be had for good; its status and message make a row.
            AwayError: a server failed in a way that may pass; other images may come.
            BucolicError: anything else, which concerns more than this image.
        """

    def place(self, image: CaptionedImage) -> Path | None:
        """Its file on this disk, where it is one that stays."""

    def forget(self, image: CaptionedImage) -> None:
        """Drop a kept copy that turned out broken, so that the next run fetches it again."""


class FolderOriginals:
    """Images of a folder in COCO layout."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digested: set[Path] = set()

    def read(self, image: CaptionedImage) -> bytes:
        """Read ROOT/SOURCE_SPLIT/FILE_NAME; NotThereError also for what cannot be read there.

        Raises:
            DataError: the file lies where DVC does not look, see `require_digested`.
        """
        path = self.place(image)
        content = read_file(path, f"{image.source_split}/{image.file_name}")
        if path.parent not in self._digested:
            require_digested(self._folder, path.parent)
            self._digested.add(path.parent)
        return content

    def place(self, image: CaptionedImage) -> Path:
        """The path of the first spelling of the name that is there, else of the name as it is."""
        folder = self._folder / image.source_split
        paths = [folder / name for name in spellings(image.file_name, image.source_split)]
        return next((path for path in paths if os.path.isfile(path)), paths[0])  # noqa: PTH113

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """It is here."""

    def forget(self, image: CaptionedImage) -> None:
        """Keep the user's file as it is."""


class ArchiveOriginals:
    """Images inside COCO's zip archives, one for each source split."""

    def __init__(self, archives: Mapping[SourceSplit, Path]) -> None:
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

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """It came with all others."""

    def place(self, image: CaptionedImage) -> Path | None:
        """It is packed."""

    def forget(self, image: CaptionedImage) -> None:
        """Keep the archive, whose checksum held."""


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
        self._fetched: set[int] = set()

    def read(self, image: CaptionedImage) -> bytes:
        """Read the kept copy, else fetch it from the first address that has it."""
        with self._alone_with(image):
            if (content := self._kept.read(image)) is not None:
                return content
            content = self._fetch(image)
            self._kept.add(image, content)
        self._fetched.add(image.image_id)  # one bytecode, so safe from several threads
        return content

    def place(self, image: CaptionedImage) -> Path | None:
        """It is in the store by now."""

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """Whether this call of the stage did."""
        return image.image_id in self._fetched

    def forget(self, image: CaptionedImage) -> None:
        """Remove the kept copy."""
        with self._alone_with(image):
            self._kept.forget(image)

    def _answered(self) -> None:
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
            self._answered()
            raise
        self._answered()
        return content


@dataclass(frozen=True)
class Transfer:
    """How the images of one source split come, and what that moves.

    Attributes:
        split: the source split.
        images: how many are asked for.
        missing: those that are not kept yet.
        size_bytes: to come over the network; an estimate where they come one by one.
        archive: what all are read out of; None where they come one by one.
        here: where the archive lies on this disk; None where it has to be fetched.
    """

    split: SourceSplit
    images: int
    missing: int
    size_bytes: int
    archive: RemoteFile | None = None
    here: Path | None = None

    def __str__(self) -> str:
        counted = f"{self.split}: {self.missing:,} of {self.images:,} images to come"
        size_gb = f"{self.size_bytes / 1e9:.2f} GB"
        if self.archive is None:
            return f"{counted}: one by one, about {size_gb}" if self.missing else counted
        if self.here is not None:
            return f"{counted}: out of {self.archive.name}, which is on this disk"
        return f"{counted}: by {self.archive.name}, {size_gb}"


class SplitOriginals:
    """The images of each source split, each read in its own way."""

    def __init__(self, ways: Mapping[SourceSplit, Originals]) -> None:
        self._ways = ways

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """As the way of its split says; of a data set that is fetched in part, not fetched."""
        fetches = any(isinstance(way, UrlOriginals) for way in self._ways.values())
        return bool(self._ways[image.source_split].was_fetched(image)) if fetches else None

    def place(self, image: CaptionedImage) -> Path | None:
        """As the way of its split says."""
        return self._ways[image.source_split].place(image)

    def read(self, image: CaptionedImage) -> bytes:
        """Read the image in the way of its split."""
        return self._ways[image.source_split].read(image)

    def forget(self, image: CaptionedImage) -> None:
        """Drop its kept copy, where one is kept."""
        self._ways[image.source_split].forget(image)


@dataclass(frozen=True)
class Ways:
    """How the images of each source split are read, which any process can then do.

    Attributes:
        source: where the data set is.
        cache: folder for what is fetched.
        archives: by source split, the archive on this disk that its images are read from.
        singly: source splits whose images are fetched one by one.
    """

    source: CocoSource | FolderSource
    cache: Path
    archives: Mapping[SourceSplit, Path] = field(default_factory=dict)
    singly: tuple[SourceSplit, ...] = ()

    def open(self, connections: int) -> Originals:
        """Be ready to read, by so many transfers at once."""
        if isinstance(self.source, FolderSource):
            return FolderOriginals(Path(self.source.folder))
        kept = KeptImages(self.cache, self.source.annotations.sha256)
        # Each of its own: neither its server's silence nor its allow_http concerns another split.
        ways: dict[SourceSplit, Originals] = {
            split: UrlOriginals(self.source.images[split], kept, connections=connections)
            for split in self.singly
        }
        from_archives: Originals = ArchiveOriginals(self.archives)
        return SplitOriginals(ways | dict.fromkeys(self.archives, from_archives))


def find_ways(
    source: CocoSource | FolderSource,
    chosen: Sequence[CaptionedImage],
    cache: Path,
    fetch: Fetch,
) -> Ways:
    """Choose for each source split how its images are read, and fetch the archives chosen.

    Args:
        source: where the data set is.
        chosen: the images that will be read.
        cache: folder for what is fetched.
        fetch: one by one, by archive, or whichever moves fewer bytes.

    Raises:
        DataError: the source has no images of a split, or an archive is not what it promises.
        TransientError: an archive could not be fetched now.
    """
    if isinstance(source, FolderSource):
        return Ways(source, cache)
    KeptImages(cache, source.annotations.sha256).sweep()
    archives: dict[SourceSplit, Path] = {}
    transfers = transfers_of(source, chosen, cache, fetch)
    for transfer in transfers:
        logger.info("%s", transfer)
        if archive := transfer.archive:
            folder = archive_folder(cache, archive)
            archives[transfer.split] = transfer.here or fetch_file(open_session(), archive, folder)
    one_by_one = [transfer for transfer in transfers if transfer.archive is None]
    guessed_bytes = sum(each.size_bytes for each in one_by_one)
    if said := lack_of_space(cache, guessed_bytes, "what is to be fetched, as a guess,"):
        logger.warning("%s", said)
    singly = tuple(transfer.split for transfer in one_by_one)
    return Ways(source, cache, archives, singly)


def transfers_of(
    source: CocoSource,
    chosen: Sequence[CaptionedImage],
    cache: Path,
    fetch: Fetch,
    find: Callable[[RemoteFile, Path], Path | None] = find_file,
) -> list[Transfer]:
    """Choose for each source split how its images come.

    Args:
        source: where the data set is.
        chosen: the images that will be read.
        cache: folder for what is fetched.
        fetch: one by one, by archive, or whichever moves fewer bytes.
        find: looks for an archive on this disk.

    Raises:
        DataError: the source has no images of a split, or none that come in this way.
    """
    kept = KeptImages(cache, source.annotations.sha256)
    found = []
    for split in sorted({image.source_split for image in chosen}):
        images = [image for image in chosen if image.source_split == split]
        missing = sum(not kept.holds(image) for image in images)
        about = _image_source(source, split, fetch)
        found.append(_transfer(split, len(images), missing, about, cache, fetch, find))
    return found


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


def _transfer(
    split: SourceSplit,
    images: int,
    missing: int,
    about: ImageSource,
    cache: Path,
    fetch: Fetch,
    find: Callable[[RemoteFile, Path], Path | None],
) -> Transfer:
    """Where nothing is missing in the cache there is nothing to fetch, in whatever way."""
    singly = Transfer(split, images, missing, missing * COCO_IMAGE_BYTES)
    if about.archive is None or fetch == "files" or not missing:
        return singly
    folder = archive_folder(cache, about.archive)
    if path := find(about.archive, folder):
        return Transfer(split, images, missing, 0, about.archive, path)
    size_bytes = bytes_to_come(about.archive, folder)
    if fetch == "auto" and about.urls and not _is_worth(size_bytes, missing):
        return singly
    return Transfer(split, images, missing, size_bytes, about.archive)


def _is_worth(transfer_bytes: int, missing: int) -> bool:
    return missing * COCO_IMAGE_BYTES > ARCHIVE_SHARE * transfer_bytes


def _spelt(bundle: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members by their names as they are, and by their canonical ones."""
    members = bundle.infolist()
    canonically = {canonical(member.filename): member for member in members}
    return canonically | {member.filename: member for member in members}

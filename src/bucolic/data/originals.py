"""The bytes of one original image: out of a folder, an archive, or from its own address."""

import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Literal, Protocol

from bucolic.data.coco import CaptionedImage, SourceSplit
from bucolic.data.fetch import NotThereError, RemoteFile, fetch_bytes, fetch_file, open_session
from bucolic.data.names import canonical, flat, spellings
from bucolic.data.source import CocoSource, FolderSource, require_digested
from bucolic.errors import DataError
from bucolic.files import fingerprint, remove, write_bytes

COCO_IMAGE_BYTES = 160_000  # mean of COCO 2017
ARCHIVE_SHARE = 0.3  # of an archive's bytes; above it one large transfer beats many small ones
Fetch = Literal["auto", "files", "archive"]


class Originals(Protocol):
    """Reads image files; safe to call from several threads.

    Attributes:
        fetched: ids of the images that came over the network; None where none ever does.
    """

    fetched: set[int] | None

    def read(self, image: CaptionedImage) -> bytes:
        """Bytes of the file; NotThereError where there is none."""

    def forget(self, image: CaptionedImage) -> None:
        """Drop a kept copy that turned out broken, so that the next run fetches it again."""


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
        name = f"{image.source_split}/{image.file_name}"
        path = self._find(image)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise NotThereError(f"{name}: no such file") from None
        except OSError as error:
            raise NotThereError(f"{name}: {error.strerror}") from None
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


class ArchiveOriginals:
    """Images inside COCO's zip archives, one for each source split."""

    fetched: set[int] | None = None

    def __init__(self, archives: dict[SourceSplit, Path]) -> None:
        self._bundles = {split: _open_zip(path) for split, path in archives.items()}
        self._members = {split: _spelt(bundle) for split, bundle in self._bundles.items()}

    def read(self, image: CaptionedImage) -> bytes:
        """Read SOURCE_SPLIT/FILE_NAME out of the archive."""
        split, members = image.source_split, self._members[image.source_split]
        name = f"{split}/{image.file_name}"
        spelt = (f"{split}/{form}" for form in spellings(image.file_name, split))
        member = next((members[form] for form in spelt if form in members), None)
        if member is None:
            raise NotThereError(f"{name}: not in the archive")
        try:
            return self._bundles[split].read(member)
        except zipfile.BadZipFile as error:
            raise DataError(f"{name}: {error}: delete the archive and run again") from None

    def forget(self, image: CaptionedImage) -> None:
        """Keep the archive, whose checksum held."""


class UrlOriginals:
    """Images fetched one by one and kept in a folder of the cache."""

    def __init__(
        self, urls: Mapping[SourceSplit, Sequence[str]], kept: Path, *, connections: int
    ) -> None:
        self._urls = urls
        self._kept = kept
        self._session = open_session(connections)
        self._locks: dict[Path, Lock] = {}
        self.fetched: set[int] | None = set()

    def read(self, image: CaptionedImage) -> bytes:
        """Read the kept copy, else fetch it from the first address that has it."""
        path = self._path(image)
        with self._alone_with(path):
            return path.read_bytes() if path.exists() else self._fetch(image, path)

    def _fetch(self, image: CaptionedImage, path: Path) -> bytes:
        urls = [url.format(file_name=image.file_name) for url in self._urls[image.source_split]]
        content = fetch_bytes(self._session, urls)
        write_bytes(path, content)
        assert self.fetched is not None
        self.fetched.add(image.image_id)  # one bytecode, so safe from several threads
        return content

    def forget(self, image: CaptionedImage) -> None:
        """Remove the kept copy."""
        path = self._path(image)
        with self._alone_with(path):
            remove(path)

    def _alone_with(self, path: Path) -> Lock:
        """The lock of one kept file: two records may name the same."""
        return self._locks.setdefault(path, Lock())

    def _path(self, image: CaptionedImage) -> Path:
        return self._kept / image.source_split / flat(image.file_name)


def open_originals(
    source: CocoSource | FolderSource,
    chosen: Sequence[CaptionedImage],
    cache: Path,
    *,
    fetch: Fetch,
    connections: int,
) -> Originals:
    """Choose how the images are read, and fetch the archives where those are chosen.

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
    splits = sorted({image.source_split for image in chosen})
    if absent := [split for split in splits if split not in source.images]:
        raise DataError(f"source.json names no images of {absent[0]}: add them under images")
    archives = {s: a for s in splits if (a := source.images[s].archive) is not None}
    if len(archives) == len(splits) and _prefers_archive(source, chosen, archives, fetch):
        return ArchiveOriginals(_fetch_all(archives, cache / "archives"))
    urls = {split: source.images[split].urls for split in splits}
    if single := [split for split in splits if not urls[split]]:
        raise DataError(f"images of {single[0]} have no address each: set images.fetch: auto")
    kept = cache / "images" / fingerprint(source.model_dump(mode="json"))
    return UrlOriginals(urls, kept, connections=connections)


def _prefers_archive(
    source: CocoSource,
    chosen: Sequence[CaptionedImage],
    archives: dict[SourceSplit, RemoteFile],
    fetch: Fetch,
) -> bool:
    if fetch != "auto":
        return fetch == "archive"
    if not all(source.images[split].urls for split in archives):
        return True
    total = sum(remote.size_bytes for remote in archives.values())
    return len(chosen) * COCO_IMAGE_BYTES > ARCHIVE_SHARE * total


def _fetch_all(archives: dict[SourceSplit, RemoteFile], folder: Path) -> dict[SourceSplit, Path]:
    session = open_session()
    return {s: fetch_file(session, r, folder / r.sha256[:16]) for s, r in archives.items()}


def _spelt(bundle: zipfile.ZipFile) -> dict[str, str]:
    """The members by their names as they are, and by their canonical ones."""
    names = bundle.namelist()
    return {canonical(name): name for name in names} | {name: name for name in names}


def _open_zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is no zip archive ({error}): delete it and run again") from None

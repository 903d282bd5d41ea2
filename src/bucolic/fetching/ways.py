"""How the images of each source split come: by whichever way moves the fewest bytes.

One by one from their own addresses, out of the whole archive, or out of one that stays on its
server, where they have no address and are few.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from bucolic.base.errors import DataError
from bucolic.base.space import lack_of_space
from bucolic.data.coco import CaptionedImage, SourceSplit
from bucolic.fetching.archives import archive_folder
from bucolic.fetching.fetch import RemoteFile, bytes_to_come, fetch_file, find_file, is_local
from bucolic.fetching.http import AwayError, is_sealed, open_session
from bucolic.fetching.image_store import KeptImages
from bucolic.fetching.originals import (
    ArchiveOriginals,
    FetchedOriginals,
    Fetcher,
    FolderOriginals,
    FromAddresses,
    FromRemoteZip,
    Originals,
    SplitOriginals,
)
from bucolic.fetching.remote_zip import RemoteZip, open_remote_zip
from bucolic.fetching.source import CocoSource, FolderSource, ImageSource

logger = logging.getLogger(__name__)
COCO_IMAGE_BYTES = 160_000  # mean of COCO 2017
ARCHIVE_SHARE = 0.3  # of an archive's bytes; above it one large transfer beats many small ones
Fetch = Literal["auto", "files", "archive"]


@dataclass(frozen=True)
class Transfer:
    """How the images of one source split come, and what that moves.

    Attributes:
        split: the source split.
        images: how many are asked for.
        missing: those that are not kept yet.
        size_bytes: to come over the network; an estimate where they come one by one.
        archive: what all are read out of; None where they come from addresses of their own.
        here: where the archive lies on this disk; None where it does not.
        in_parts: whether it stays on its server, and they come one by one out of it.
    """

    split: SourceSplit
    images: int
    missing: int
    size_bytes: int
    archive: RemoteFile | None = None
    here: Path | None = None
    in_parts: bool = False

    def __str__(self) -> str:
        counted = f"{self.split}: {self.missing:,} of {self.images:,} images to come"
        size_gb = f"{self.size_bytes / 1e9:.2f} GB"
        if self.archive is None:
            return f"{counted}: one by one, about {size_gb}" if self.missing else counted
        if self.here is not None:
            return f"{counted}: out of {self.archive.name}, which is on this disk"
        if self.in_parts:
            return f"{counted}: out of {self.archive.name} on its server, about {size_gb}"
        return f"{counted}: by {self.archive.name}, {size_gb}"


@dataclass(frozen=True)
class Ways:
    """How the images of each source split are read, which any process can then do.

    Attributes:
        source: where the data set is.
        cache: folder for what is fetched.
        archives: by source split, the archive on this disk that its images are read from.
        singly: source splits whose images are fetched from addresses of their own.
        in_parts: by source split, the archive on a server that its images are fetched out of.
    """

    source: CocoSource | FolderSource
    cache: Path
    archives: Mapping[SourceSplit, Path] = field(default_factory=dict)
    singly: tuple[SourceSplit, ...] = ()
    in_parts: Mapping[SourceSplit, RemoteFile] = field(default_factory=dict)

    @property
    def wait_for_servers(self) -> bool:
        """Whether images come over the network, one by one."""
        return bool(self.singly or self.in_parts)

    def _was_fetched(self, split: SourceSplit) -> bool:
        """Whether the split's archive came over the network, and may be gone one day."""
        assert isinstance(self.source, CocoSource)
        archive = self.source.images[split].archive
        return archive is not None and not any(map(is_local, archive.urls))

    def open(self, connections: int) -> Originals:
        """Be ready to read, by so many transfers at once."""
        if isinstance(self.source, FolderSource):
            return FolderOriginals(Path(self.source.folder))
        kept = KeptImages(self.cache, self.source.annotations.sha256)
        # Each of its own: neither its server's silence nor its allow_http concerns another split.
        fetchers: dict[SourceSplit, Fetcher] = {
            split: FromAddresses(self.source.images[split], connections) for split in self.singly
        }
        for split, archive in self.in_parts.items():
            fetchers[split] = FromRemoteZip(_opened(archive, connections))
        ways: dict[SourceSplit, Originals] = {
            split: FetchedOriginals(fetcher, kept) for split, fetcher in fetchers.items()
        }
        passing = [split for split in self.archives if self._was_fetched(split)]
        from_archives: Originals = ArchiveOriginals(self.archives, dict.fromkeys(passing, kept))
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
        TransientError: an archive could not be fetched, or asked for parts, now.
    """
    if isinstance(source, FolderSource):
        return Ways(source, cache)
    KeptImages(cache, source.annotations.sha256).sweep()
    archives: dict[SourceSplit, Path] = {}
    in_parts: dict[SourceSplit, RemoteFile] = {}
    transfers = transfers_of(source, chosen, cache, fetch)
    for transfer in transfers:
        logger.info("%s", transfer)
        if (archive := transfer.archive) is None:
            continue
        if transfer.in_parts and open_remote_zip(archive):
            in_parts[transfer.split] = archive
        else:
            folder = archive_folder(cache, archive)
            archives[transfer.split] = transfer.here or fetch_file(open_session(), archive, folder)
    one_by_one = [transfer for transfer in transfers if transfer.split not in archives]
    guessed_bytes = sum(each.size_bytes for each in one_by_one)
    if said := lack_of_space(cache, guessed_bytes, "what is to be fetched, as a guess,"):
        logger.warning("%s", said)
    singly = tuple(each.split for each in one_by_one if each.split not in in_parts)
    return Ways(source, cache, archives, singly, in_parts)


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
    if fetch == "archive" or is_worth(size_bytes, missing):
        return Transfer(split, images, missing, size_bytes, about.archive)
    if about.urls:
        return singly
    if any(map(is_sealed, about.archive.urls)):
        return replace(singly, archive=about.archive, in_parts=True)
    return Transfer(split, images, missing, size_bytes, about.archive)


def is_worth(transfer_bytes: int, missing: int) -> bool:
    """Whether an archive of which so much is to come moves less than so many images one by one."""
    return missing * COCO_IMAGE_BYTES > ARCHIVE_SHARE * transfer_bytes


def _opened(archive: RemoteFile, connections: int) -> RemoteZip:
    if (opened := open_remote_zip(archive, connections)) is None:
        raise AwayError(f"{archive.name}: its server does not serve parts of it any more")
    return opened

"""The bytes of one original image: out of a folder, an archive, or from a server."""

import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Protocol
from urllib.parse import quote

from bucolic.data.coco import CaptionedImage, SourceSplit
from bucolic.data.names import canonical, spellings
from bucolic.fetching.archives import open_zip, read_member
from bucolic.fetching.fetch import IMAGE_LIMIT_BYTES, fetch_bytes, read_file
from bucolic.fetching.http import RETRIES, AwayError, NotThereError, open_session
from bucolic.fetching.image_store import KeptImages
from bucolic.fetching.remote_zip import RemoteZip
from bucolic.fetching.source import ImageSource, require_digested

DOUBTED_AFTER = 20  # failures in a row; a server with more is asked once for each image
LOCKS = 1024  # for all names; far more than threads
GIVEN_UP_AFTER_S = 120.0  # without one success, by a server that is doubted


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

    def keep(self, image: CaptionedImage, digest: str) -> None:
        """Know its file by name from now on: it is sound, and in the store by its sha256."""

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
        as_it_is = folder / image.file_name
        if os.path.isfile(as_it_is):  # noqa: PTH113 - most are: no other spelling is made up
            return as_it_is
        paths = (folder / name for name in spellings(image.file_name, image.source_split))
        return next((path for path in paths if os.path.isfile(path)), as_it_is)  # noqa: PTH113

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """It is here."""

    def keep(self, image: CaptionedImage, digest: str) -> None:
        """It has its name here."""

    def forget(self, image: CaptionedImage) -> None:
        """Keep the user's file as it is."""


class ArchiveOriginals:
    """Images inside COCO's zip archives, one for each source split.

    Those of archives that were fetched are known by their names from then on, and are not missing
    where the archive is gone.
    """

    def __init__(
        self,
        archives: Mapping[SourceSplit, Path],
        kept: Mapping[SourceSplit, KeptImages] | None = None,
    ) -> None:
        self._kept = kept or {}
        self._bundles = {split: open_zip(path) for split, path in archives.items()}
        self._members = {split: Members(bundle) for split, bundle in self._bundles.items()}

    def read(self, image: CaptionedImage) -> bytes:
        """Read SOURCE_SPLIT/FILE_NAME out of the archive."""
        split = image.source_split
        member = self._members[split].of(image)
        return read_member(self._bundles[split], member, IMAGE_LIMIT_BYTES)

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """It came with all others."""

    def place(self, image: CaptionedImage) -> Path | None:
        """It is packed."""

    def keep(self, image: CaptionedImage, digest: str) -> None:
        """Know it without the archive, where that was fetched."""
        if (kept := self._kept.get(image.source_split)) and not kept.holds(image):
            kept.add(image, digest)

    def forget(self, image: CaptionedImage) -> None:
        """Keep the archive, whose checksum held; its image is no good."""
        if kept := self._kept.get(image.source_split):
            kept.forget(image)


class Fetcher(Protocol):
    """Fetches single images from a server; safe to call from several threads."""

    def named(self, image: CaptionedImage) -> str:
        """Where the image is, as people say it."""

    def fetch(self, image: CaptionedImage, tries: int) -> bytes:
        """Fetch its bytes.

        Args:
            image: which one.
            tries: how often each address is asked while its failures may pass.

        Raises:
            NotThereError: it cannot be had for good.
            AwayError: the server failed in a way that may pass.
        """


class FromAddresses:
    """Fetches each image from an address of its own."""

    def __init__(self, source: ImageSource, connections: int) -> None:
        self._templates = source.trusted_urls
        self._session = open_session(connections, allow_http=source.allow_http)

    def named(self, image: CaptionedImage) -> str:
        """The first address."""
        return next(iter(image_urls(self._templates, image.file_name)), image.file_name)

    def fetch(self, image: CaptionedImage, tries: int) -> bytes:
        """Fetch it from the first address that has it."""
        urls = image_urls(self._templates, image.file_name)
        if not urls:  # the next run finds the image missing, and looks for another way
            raise AwayError(
                f"{image.source_split}/{image.file_name}: its kept copy was broken, "
                "and source.json has no address for it alone"
            )
        return fetch_bytes(self._session, urls, tries=tries)


class FromRemoteZip:
    """Fetches images out of an archive that stays on its server."""

    def __init__(self, archive: RemoteZip) -> None:
        self._archive = archive
        self._members = Members(archive.bundle)

    def named(self, image: CaptionedImage) -> str:
        """Its name, and the archive's address."""
        return f"{image.file_name} in {self._archive.url}"

    def fetch(self, image: CaptionedImage, tries: int) -> bytes:
        """Fetch the bytes that hold it, and unpack it."""
        return self._archive.read(self._members.of(image), IMAGE_LIMIT_BYTES, tries)


class FetchedOriginals:
    """Images of one source split, fetched one by one and kept in the cache.

    A server that has been failing for long is asked less and less, so that a stage without network
    ends soon: how long one failing image is tried again would else be spent on each of thousands.
    """

    def __init__(self, fetcher: Fetcher, kept: KeptImages) -> None:
        self._fetcher, self._kept = fetcher, kept
        self._failures = 0  # in a row; threads may miscount it by a few, which harms nothing
        self._failing_since_s = 0.0
        self._locks = [Lock() for _ in range(LOCKS)]
        self._fetched: set[int] = set()
        self._unchecked: dict[str, bytes] = {}  # by name, what came and is being looked at

    def read(self, image: CaptionedImage) -> bytes:
        """Read the kept copy, else fetch it."""
        with self._alone_with(image):
            found = self._kept.read(image) or self._unchecked.get(image.file_name)
            if found is not None:
                return found
            content = self._unchecked[image.file_name] = self._fetch(image)
        self._fetched.add(image.image_id)  # one bytecode, so safe from several threads
        return content

    def place(self, image: CaptionedImage) -> Path | None:
        """It is in the store by now."""

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """Whether this call of the stage did."""
        return image.image_id in self._fetched

    def keep(self, image: CaptionedImage, digest: str) -> None:
        """Know what was fetched: an answer that is no sound picture is kept nowhere."""
        with self._alone_with(image):
            if self._unchecked.pop(image.file_name, None) is not None:
                self._kept.add(image, digest)

    def forget(self, image: CaptionedImage) -> None:
        """Remove the kept copy."""
        with self._alone_with(image):
            self._kept.forget(image)
            self._unchecked.pop(image.file_name, None)

    def _alone_with(self, image: CaptionedImage) -> Lock:
        """The lock of one kept file, and of a few others: two records may name the same."""
        return self._locks[hash(image.file_name) % LOCKS]

    def _fetch(self, image: CaptionedImage) -> bytes:
        doubted = self._failures >= DOUBTED_AFTER
        if doubted and time.monotonic() - self._failing_since_s > GIVEN_UP_AFTER_S:
            where = self._fetcher.named(image)
            raise AwayError(f"{where}: not asked, the server has not answered for long")
        try:
            content = self._fetcher.fetch(image, 1 if doubted else RETRIES + 1)
        except AwayError:
            if not self._failures:
                self._failing_since_s = time.monotonic()
            self._failures += 1
            raise
        except NotThereError:
            self._failures = 0
            raise
        self._failures = 0
        return content


class SplitOriginals:
    """The images of each source split, each read in its own way."""

    def __init__(self, ways: Mapping[SourceSplit, Originals]) -> None:
        self._ways = ways

    def was_fetched(self, image: CaptionedImage) -> bool | None:
        """As the way of its split says; of a data set that is fetched in part, not fetched."""
        fetches = any(isinstance(way, FetchedOriginals) for way in self._ways.values())
        return bool(self._ways[image.source_split].was_fetched(image)) if fetches else None

    def place(self, image: CaptionedImage) -> Path | None:
        """As the way of its split says."""
        return self._ways[image.source_split].place(image)

    def read(self, image: CaptionedImage) -> bytes:
        """Read the image in the way of its split."""
        return self._ways[image.source_split].read(image)

    def keep(self, image: CaptionedImage, digest: str) -> None:
        """Know it in the way of its split."""
        self._ways[image.source_split].keep(image, digest)

    def forget(self, image: CaptionedImage) -> None:
        """Drop its kept copy, where one is kept."""
        self._ways[image.source_split].forget(image)


class Members:
    """The images in an archive, by their names as they are and by their canonical ones."""

    def __init__(self, bundle: zipfile.ZipFile) -> None:
        members = bundle.infolist()
        canonically = {canonical(member.filename): member for member in members}
        self._by_name = canonically | {member.filename: member for member in members}

    def of(self, image: CaptionedImage) -> zipfile.ZipInfo:
        """The member SOURCE_SPLIT/FILE_NAME; NotThereError where there is none."""
        split = image.source_split
        for form in spellings(image.file_name, split):
            if member := self._by_name.get(f"{split}/{form}"):
                return member
        raise NotThereError(f"{split}/{image.file_name}: not in the archive")


def image_urls(templates: Sequence[str], file_name: str) -> list[str]:
    """The addresses of one image: at each place its canonical name, then the name as it is.

    Whatever means something in an address is quoted in the name.
    """
    names = [quote(name, safe="/") for name in dict.fromkeys((canonical(file_name), file_name))]
    return [url.replace("{file_name}", name) for url in templates for name in names]

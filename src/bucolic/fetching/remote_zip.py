"""A zip archive that stays on its server: its own list of what it holds, and single files of it.

Files are read by ranges of bytes, each with one question. No sha256 speaks for a part: see
fetching/members.py for whom is trusted, and what becomes of archives that are odd.
"""

import io
import logging
import struct
import zipfile
from itertools import pairwise

import requests

from bucolic.base.errors import DataError
from bucolic.base.progress import Progress
from bucolic.fetching.archives import OPENING_ERRORS, unpacking
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.http import (
    RETRIES,
    AwayError,
    NotThereError,
    TooLongError,
    fetch_range,
    is_sealed,
    open_sealed_session,
)

logger = logging.getLogger(__name__)
BLOCK_BYTES = 4 << 20  # of one question, behind the one before
# Of a file's own header: fixed fields, which end with the sizes of the two that follow.
FIELDS_BYTES, SIZES = 30, struct.Struct("<HH")
FOLLOWING_BYTES = 2 * 0xFFFF


class RemoteZip:
    """An archive on a server. Safe to read from several threads.

    Attributes:
        url: where it is.
        bundle: its list; what it holds is read by `read`.
    """

    def __init__(self, session: requests.Session, url: str, remote: RemoteFile) -> None:
        """Fetch the list.

        Raises:
            DataError: the server has no ranges, or another file.
            AwayError: it failed in a way that may pass.
            OPENING_ERRORS: it is no zip archive.
        """
        self.url = url
        self._session, self._size_bytes = session, remote.size_bytes
        reader = io.BufferedReader(RangeReader(session, url, remote), BLOCK_BYTES)
        self.bundle = zipfile.ZipFile(reader)
        starts = sorted({member.header_offset for member in self.bundle.infolist()})
        self._ends = dict(pairwise([*starts, self.bundle.start_dir]))

    def read(self, member: zipfile.ZipInfo, limit_bytes: int, tries: int = RETRIES + 1) -> bytes:
        """Fetch and unpack one file.

        Raises:
            NotThereError: it cannot be unpacked, or is over the limit.
            AwayError: the server failed in a way that may pass, or serves the archive no more.
        """
        if member.compress_size > limit_bytes:
            raise TooLongError(f"{member.filename}: over the limit of {limit_bytes:,} bytes")
        start = member.header_offset
        most_bytes = FIELDS_BYTES + FOLLOWING_BYTES + member.compress_size
        length = min(self._ends[start] - start, most_bytes)
        try:
            held = fetch_range(self._session, self.url, start, length, self._size_bytes, tries)
        except NotThereError as changed:  # of the archive, not of the file: look again later
            raise AwayError(str(changed)) from None
        with unpacking(member, limit_bytes):
            named, extra = SIZES.unpack_from(held, FIELDS_BYTES - SIZES.size)
            packed = io.BytesIO(held[FIELDS_BYTES + named + extra :][: member.compress_size])
            return zipfile.ZipExtFile(packed, "r", member).read()


def open_remote_zip(remote: RemoteFile, connections: int = 1) -> RemoteZip | None:
    """The archive at the first address that serves parts of it; None where none does.

    Raises:
        AwayError: one failed in a way that may pass, and none serves them.
    """
    away: AwayError | None = None
    for url in filter(is_sealed, remote.urls):
        session = open_sealed_session(url, connections)
        try:
            return RemoteZip(session, url, remote)
        except AwayError as error:
            away = error
        except (DataError, *OPENING_ERRORS) as odd:
            logger.info("%s: not in parts (%s)", url, odd)
        session.close()
    if away:
        raise away
    return None


class RangeReader(io.RawIOBase):
    """A file on a server that is read where it is asked for."""

    def __init__(self, session: requests.Session, url: str, remote: RemoteFile) -> None:
        self.name = remote.name
        self._session, self._url, self._size_bytes = session, url, remote.size_bytes
        self._place = 0
        self._progress: Progress | None = None

    def watched(self, size_bytes: int) -> None:
        """Tell how far this many bytes have come, from now on."""
        self._progress = Progress(f"fetched of {self.name}", size_bytes, is_bytes=True)

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Read from there on."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size_bytes}[whence]
        self._place = max(0, base + offset)
        return self._place

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]
        """Ask for as many bytes as there is room for."""
        length = min(len(buffer), self._size_bytes - self._place)
        if length <= 0:
            return 0
        place = self._place
        content = fetch_range(self._session, self._url, place, length, self._size_bytes)
        buffer[:length] = content
        self._place += length
        if self._progress:
            self._progress.add(length)
        return length

    def close(self) -> None:
        """End what is told of how far it is."""
        if self._progress:
            self._progress.close()
        super().close()

"""Unpacking files of zip archives, one at a time, up to a limit of bytes.

The archive itself is what its digest says, so what cannot be unpacked is broken at its source.
"""

import lzma
import shutil
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bucolic.base.errors import DataError, as_transient
from bucolic.base.files import CHUNK_BYTES
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.http import NotThereError, TooLongError

ENCRYPTED = 1  # the lowest bit of a member's flags
# What zipfile raises of archives it cannot open: torn, of another version, with broken names.
OPENING_ERRORS = (zipfile.BadZipFile, struct.error, NotImplementedError, ValueError)
# What zipfile raises of members it cannot unpack: torn, encrypted, packed in unknown ways.
UNPACKING_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    struct.error,
    OSError,
    RuntimeError,
)


def archive_folder(cache: Path, archive: RemoteFile) -> Path:
    """Where an archive is kept that was fetched."""
    return cache / "archives" / archive.sha256[:16]


class BrokenError(NotThereError):
    """The archive is what its digest says, and holds a file in a state nobody can unpack."""

    status = "corrupt"


def open_zip(path: Path) -> zipfile.ZipFile:
    """Open an archive for reading; DataError where it is none."""
    try:
        return zipfile.ZipFile(path)
    except OPENING_ERRORS as error:
        # Its digest has been compared, so another download would be the same.
        raise DataError(
            f"{path} has the sha256 that source.json names and is no whole zip archive ({error}): "
            "name another one there"
        ) from None


def read_member(bundle: zipfile.ZipFile, member: zipfile.ZipInfo, limit_bytes: int) -> bytes:
    """Unpack one file into memory.

    Raises:
        TooLongError: it would be longer than the limit.
        BrokenError: it cannot be unpacked, or its checksum is another.
        TransientError: the disk or the machine is in trouble that may pass.
    """
    with unpacking(member, limit_bytes):
        return bundle.read(member)


def unpack_member(
    bundle: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path, limit_bytes: int
) -> None:
    """Unpack one file to `path`, a piece at a time; see `read_member`."""
    with unpacking(member, limit_bytes), bundle.open(member) as packed, path.open("wb") as file:
        shutil.copyfileobj(packed, file, CHUNK_BYTES)


@contextmanager
def unpacking(member: zipfile.ZipInfo, limit_bytes: int) -> Iterator[None]:
    """What fails in the block is told as `read_member` does."""
    # zipfile unpacks no more than the archive's own list promises, whatever is packed.
    if member.file_size > limit_bytes:
        raise TooLongError(f"{member.filename}: over the limit of {limit_bytes:,} bytes unpacked")
    if member.flag_bits & ENCRYPTED:
        raise BrokenError(f"{member.filename} is encrypted: pack the archive without a password")
    try:
        yield
    except UNPACKING_ERRORS as error:
        if passing := as_transient(error, member.filename):
            raise passing from None
        raise BrokenError(f"{member.filename} cannot be unpacked: {error}") from None

"""Single files out of a zip archive on a server: by its directory, and by ranges of bytes.

No sha256 speaks for a file alone: the archive's own list, with sizes and checksums, comes from the
same server. So the archive has to be as long as is promised, and is asked for where nobody can
stand between, over https or on this machine; whoever keeps the server is trusted. What is odd is no
error here: all of the archive is fetched instead, and its sha256 has the last word.

    .cache/archives/<first 16 digits of the archive's sha256>/members.json

says which files were unpacked beside it, into members/: name to sha256, null for one that the
archive lacks.
"""

import io
import json
import logging
import zipfile
from collections.abc import Collection, Iterable
from pathlib import Path

from bucolic.base.errors import DataError
from bucolic.base.files import file_digest, replacing, write_json
from bucolic.base.lock import waiting_for
from bucolic.base.space import require_space
from bucolic.data.names import canonical
from bucolic.fetching.archives import OPENING_ERRORS, unpack_member
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.http import AwayError, is_sealed, open_sealed_session
from bucolic.fetching.remote_zip import BLOCK_BYTES, RangeReader

logger = logging.getLogger(__name__)
Kept = dict[str, str | None]


def fetch_members(
    remote: RemoteFile, folder: Path, names: Collection[str], limit_bytes: int
) -> dict[str, Path] | None:
    """Those of the named files that the archive has, by name; what is kept is not fetched again.

    Args:
        remote: the archive.
        folder: where it would be kept.
        names: of files in it.
        limit_bytes: of one file, unpacked.

    Returns:
        None where they cannot be had without the others.

    Raises:
        TransientError: the disk is in trouble that may pass.
    """
    why = f"{remote.name}: another process is fetching of it: waiting for it"
    with waiting_for(folder.with_name(f"{folder.name}.lock"), why):
        kept = _read_kept(folder)
        if missing := [name for name in names if not _is_whole(folder, name, kept)]:
            found = _fetched(remote, folder, missing, limit_bytes)
            if found is None:
                return None
            kept |= found
            write_json(folder / "members.json", kept)
    return {name: _path(folder, name) for name in names if kept[name]}


def _fetched(
    remote: RemoteFile, folder: Path, names: Iterable[str], limit_bytes: int
) -> Kept | None:
    """Fetch from the first address that serves them."""
    for url in filter(is_sealed, remote.urls):
        try:
            with open_sealed_session(url) as session:
                return _unpacked(RangeReader(session, url, remote), folder, names, limit_bytes)
        except (DataError, AwayError, *OPENING_ERRORS) as odd:
            logger.info("%s: not in parts (%s)", url, odd)
    return None


def _unpacked(archive: RangeReader, folder: Path, names: Iterable[str], limit_bytes: int) -> Kept:
    with zipfile.ZipFile(io.BufferedReader(archive, BLOCK_BYTES)) as bundle:
        members = {canonical(member.filename): member for member in bundle.infolist()}
        there = [members[name] for name in names if name in members]
        require_space(folder, sum(member.file_size for member in there), archive.name)
        archive.watched(sum(member.compress_size for member in there))
        for member in there:
            with replacing(_path(folder, canonical(member.filename))) as partial:
                unpack_member(bundle, member, partial, limit_bytes)
    return {name: file_digest(_path(folder, name)) if name in members else None for name in names}


def _read_kept(folder: Path) -> Kept:
    try:
        kept: Kept = json.loads((folder / "members.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return {}
    return kept


def _is_whole(folder: Path, name: str, kept: Kept) -> bool:
    """Whether a file is kept as it was fetched, or known to be lacking."""
    if name not in kept:
        return False
    path, digest = _path(folder, name), kept[name]
    return digest is None or (path.is_file() and file_digest(path) == digest)


def _path(folder: Path, name: str) -> Path:
    return folder / "members" / name

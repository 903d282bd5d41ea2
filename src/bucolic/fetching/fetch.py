"""Fetching files over HTTP(S) or from file:// addresses, with retries, resume and verification."""

import os
import stat
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlparse

import requests
from pydantic import Field

from bucolic.base.errors import BucolicError, DataError, as_transient
from bucolic.base.files import file_digest, remove
from bucolic.base.lock import waiting_for
from bucolic.base.progress import Progress
from bucolic.base.section import Section
from bucolic.base.space import require_space
from bucolic.data.names import Address, FileName
from bucolic.fetching.http import (
    RETRIES,
    AwayError,
    Content,
    NotThereError,
    RefusedError,
    TooLongError,
    UntrustedError,
    asking,
    body,
    patiently,
)

IMAGE_LIMIT_BYTES = 256 << 20
IMAGE_LIMIT_S = 300.0
SLOWEST_BYTES_PER_S = 10_000  # of a large file, beyond IMAGE_LIMIT_S


class RemoteFile(Section):
    """A file known by its addresses, size and content; the addresses are tried in order."""

    name: FileName
    urls: tuple[Address, ...] = Field(min_length=1)
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


def fetch_bytes(
    session: requests.Session,
    urls: Sequence[str],
    *,
    limit_bytes: int = IMAGE_LIMIT_BYTES,
    tries: int = RETRIES + 1,
) -> bytes:
    """Fetch a small file from the first address that has it.

    Args:
        session: from `open_session`.
        urls: addresses of the file, one at least.
        limit_bytes: a longer body is refused, and not read to its end.
        tries: how often each address is asked while its failures may pass.

    Raises:
        NotThereError: every address answers that it will not serve the file.
        UntrustedError: no address serves it, and one has a certificate that does not hold.
        AwayError: an address failed in a way that may pass.
    """

    def from_address(url: str) -> bytes:
        if is_local(url):
            return read_file(local_path(url), url, limit_bytes)
        ends_s = time.monotonic() + IMAGE_LIMIT_S  # each has its own: another may be the slow one

        def get() -> bytes:
            with asking(session, url) as response:
                return b"".join(body(response, limit_bytes, ends_s))

        return patiently(get, tries, ends_s)

    return _first_that_works(urls, from_address)


def read_file(path: Path, name: str, limit_bytes: int = IMAGE_LIMIT_BYTES) -> bytes:
    """Read a small local file; `name` is what messages call it.

    Raises:
        NotThereError: there is none, it may not be read, or it is no file.
        TransientError: the disk or the machine is in trouble that may pass.
    """
    try:
        _require_readable(path.stat(), name, limit_bytes)
        return path.read_bytes()
    except FileNotFoundError:
        raise NotThereError(f"{name}: no such file") from None
    except OSError as error:
        if passing := as_transient(error, name):
            raise passing from None
        raise NotThereError(f"{name}: {error.strerror}") from None
    except ValueError as error:  # a null byte in the name
        raise NotThereError(f"{name!r}: {error}") from None


def _require_readable(found: os.stat_result, name: str, limit_bytes: int) -> None:
    if found.st_size > limit_bytes:
        raise TooLongError(f"{name}: over the limit of {limit_bytes:,} bytes")
    if not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)):
        raise NotThereError(f"{name}: not a file")  # reading a pipe would never end


def fetch_file(session: requests.Session, remote: RemoteFile, folder: Path) -> Path:
    """Fetch a large file into `folder`, resuming what an earlier call left, and verify it.

    A file already there with the right content is kept, and one at a file:// address is read in
    its place. Size and sha256 are always checked. One process at a time fetches into `folder`;
    another waits and finds the file there.

    Raises:
        DataError: no address serves what the source promises; nothing of it is kept.
        TransientError: the transfer broke off; what came is kept for the next call.
    """
    # Checkouts share the cache: two that wrote the same part would spoil it for each other.
    why = f"{remote.name}: another process is fetching it: waiting for it"
    with waiting_for(folder.with_name(f"{folder.name}.lock"), why):
        return find_file(remote, folder) or _fetch_whole(session, remote, folder / remote.name)


def find_file(remote: RemoteFile, folder: Path) -> Path | None:
    """Where the file lies on this machine with the right content: at an address, or in `folder`."""
    places = [local_path(url) for url in remote.urls if is_local(url)]
    return next((p for p in [*places, folder / remote.name] if not _mismatch(p, remote)), None)


def bytes_to_come(remote: RemoteFile, folder: Path) -> int:
    """How many bytes of a file that is not there would have to be transferred."""
    partial = _partial(folder / remote.name)
    have = partial.stat().st_size if partial.exists() else 0
    return remote.size_bytes - have if have <= remote.size_bytes else remote.size_bytes


def is_local(url: str) -> bool:
    """Whether an address is a place on this machine."""
    return url.lower().startswith("file:")


def local_path(url: str) -> Path:
    """The path that a file:// address means."""
    return Path(unquote(urlparse(url).path))


def _fetch_whole(session: requests.Session, remote: RemoteFile, path: Path) -> Path:
    require_space(path.parent, bytes_to_come(remote, path.parent), remote.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        _first_that_works(remote.urls, lambda url: _complete(session, url, partial, remote))
    except NotThereError as error:
        raise DataError(f"{error}: mend its address or its digest in source.json") from None
    partial.replace(path)
    return path


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _complete(session: requests.Session, url: str, partial: Path, remote: RemoteFile) -> None:
    """Bring the part to the promised content, from nothing where what there was does not fit."""
    if is_local(url):
        raise NotThereError(f"{url}: {_mismatch(local_path(url), remote)}")
    for resumed in [True, False] if partial.exists() else [False]:
        try:
            _download(session, url, partial, remote.size_bytes)
            problem = _mismatch(partial, remote)
        except TooLongError as error:
            problem = str(error)
        if not problem:
            return
        remove(partial)
        if not resumed:
            raise RefusedError(f"{url}: {problem}")


def _download(session: requests.Session, url: str, partial: Path, size_bytes: int) -> None:
    ends_s = time.monotonic() + IMAGE_LIMIT_S + size_bytes / SLOWEST_BYTES_PER_S

    def resume() -> None:
        have = partial.stat().st_size if partial.exists() else 0
        if have >= size_bytes:
            return
        asked = {"Range": f"bytes={have}-"} if have else {}
        with asking(session, url, asked) as response:
            if not _continues(response, have):
                have = 0
            progress = Progress(f"fetched {partial.stem}", size_bytes, is_bytes=True, done=have)
            with partial.open("ab" if have else "wb") as file:
                for piece in progress.over(body(response, size_bytes - have, ends_s), len):
                    file.write(piece)
            if "Content-Length" not in response.headers and partial.stat().st_size < size_bytes:
                raise AwayError(f"{url}: it broke off")

    patiently(resume, RETRIES + 1, ends_s)


def _continues(response: requests.Response, have: int) -> bool:
    """Whether the body begins where the part ends; a server may send the whole file again."""
    begins = response.headers.get("Content-Range", f"bytes {have}-")
    return response.status_code == 206 and begins.startswith(f"bytes {have}-")


def _first_that_works(urls: Sequence[str], fetch: Callable[[str], Content]) -> Content:
    problems: list[BucolicError] = []
    for url in urls:
        try:
            return fetch(url)
        except (NotThereError, UntrustedError, AwayError) as error:
            problems.append(error)
    # One address that may work later outweighs any number that say no.
    for kind in (AwayError, UntrustedError):
        if of_kind := [problem for problem in problems if isinstance(problem, kind)]:
            raise of_kind[0]
    raise problems[0]


def _mismatch(path: Path, remote: RemoteFile) -> str | None:
    if not path.is_file():
        return "no such file"
    size = path.stat().st_size
    if size != remote.size_bytes:
        return f"{size} bytes came, {remote.size_bytes} were promised"
    progress = Progress(f"checked {remote.name}", remote.size_bytes, is_bytes=True)
    digest = file_digest(path, count=progress.add)
    progress.close()
    if digest != remote.sha256:
        return f"its sha256 is not {remote.sha256[:12]}..."
    return None

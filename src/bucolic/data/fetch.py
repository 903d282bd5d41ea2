"""Fetching files over HTTP(S) or from file:// addresses, with retries, resume and verification.

urllib3's Retry does the waiting: exponential back-off with jitter, Retry-After honoured, so that
COCO's bucket (503 Slow Down, connection resets) is treated gently.
"""

import shutil
from collections.abc import Callable, Sequence
from errno import EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote, urlparse

import requests
from pydantic import Field
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from bucolic.config import Section
from bucolic.data.names import FileName
from bucolic.errors import BucolicError, DataError, TransientError
from bucolic.files import CHUNK_BYTES, file_digest, remove
from bucolic.lock import waiting_for

TIMEOUT_S = (10, 60)
RETRIES = 5
BACKOFF_S = 0.5
RETRIED_STATUSES = (408, 425, 429, 500, 502, 503, 504)
Content = TypeVar("Content")


class RemoteFile(Section):
    """A file known by its addresses, size and content; the addresses are tried in order."""

    name: FileName
    urls: tuple[str, ...] = Field(min_length=1)
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class NotThereError(DataError):
    """The server says for good that there is no such file (403, 404, 410)."""


def open_session(connections: int = 16) -> requests.Session:
    """A session that retries passing failures and keeps up to `connections` open."""
    retry = Retry(
        total=RETRIES,
        backoff_factor=BACKOFF_S,
        backoff_jitter=BACKOFF_S,
        status_forcelist=RETRIED_STATUSES,
        raise_on_status=False,
    )
    session = requests.Session()
    adapter = HTTPAdapter(max_retries=retry, pool_maxsize=connections)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def fetch_bytes(session: requests.Session, urls: Sequence[str]) -> bytes:
    """Fetch a small file from the first address that has it.

    Raises:
        NotThereError: every address answers that there is no such file.
        TransientError: an address failed in a way that may pass.
    """
    return _first_that_works(urls, lambda url: _get(session, url))


def fetch_file(session: requests.Session, remote: RemoteFile, folder: Path) -> Path:
    """Fetch a large file into `folder`, resuming what an earlier call left, and verify it.

    A file already there with the right content is kept. Size and sha256 are always checked. One
    process at a time fetches into `folder`; another waits and finds the file there.

    Raises:
        DataError: the content is not what the source promises; the file is removed.
        TransientError: the transfer broke off; what came is kept for the next call.
    """
    path = folder / remote.name
    # Checkouts share the cache: two that wrote the same part would spoil it for each other.
    with waiting_for(folder.with_name(f"{folder.name}.lock")):
        if not path.exists() or _mismatch(path, remote):
            _fetch_whole(session, remote, path)
    return path


def _fetch_whole(session: requests.Session, remote: RemoteFile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".part")
    _first_that_works(remote.urls, lambda url: _download(session, url, partial, remote.size_bytes))
    if problem := _mismatch(partial, remote):
        remove(partial)
        raise DataError(f"{remote.urls[0]}: {problem}; the source may have changed: try again")
    partial.replace(path)


def _first_that_works(urls: Sequence[str], fetch: Callable[[str], Content]) -> Content:
    problems: list[BucolicError] = []
    for url in urls:
        try:
            return fetch(url)
        except (NotThereError, TransientError) as error:
            problems.append(error)
    # One address that may work later outweighs any number that say no.
    raise next((p for p in problems if isinstance(p, TransientError)), problems[0])


def _get(session: requests.Session, url: str) -> bytes:
    if url.startswith("file:"):
        return _read_local(url)
    for left in reversed(range(RETRIES)):
        try:
            response = session.get(url, timeout=TIMEOUT_S)
        except requests.exceptions.ChunkedEncodingError as error:
            # The connection broke inside the body, which urllib3's Retry does not cover.
            if not left:
                raise TransientError(f"{url}: {_reason(error)}; run again") from None
            continue
        except requests.RequestException as error:
            raise TransientError(f"{url}: {_reason(error)}; run the same command again") from None
        _check_status(response, url)
        return response.content
    raise AssertionError("the last try returns or raises")


def _read_local(url: str) -> bytes:
    try:
        return _local_path(url).read_bytes()
    except OSError as error:
        if error.errno not in (ENOENT, ENOTDIR, EISDIR, ENAMETOOLONG):
            raise
        raise NotThereError(f"{url}: no such file") from None


def _download(session: requests.Session, url: str, partial: Path, size_bytes: int) -> None:
    if url.startswith("file:"):
        if not _local_path(url).exists():
            raise NotThereError(f"{url}: no such file")
        shutil.copyfile(_local_path(url), partial)
        return
    have = partial.stat().st_size if partial.exists() else 0
    if have >= size_bytes:
        return
    try:
        with session.get(
            url, stream=True, timeout=TIMEOUT_S, headers={"Range": f"bytes={have}-"}
        ) as response:
            _check_status(response, url)
            # A server that ignores Range answers 200 with the whole file.
            _append(response, partial, "ab" if response.status_code == 206 else "wb")
    except requests.RequestException as error:
        raise TransientError(f"{url}: {_reason(error)}; run again to resume") from None


def _append(response: requests.Response, partial: Path, mode: str) -> None:
    with partial.open(mode) as file:
        for chunk in response.iter_content(CHUNK_BYTES):
            file.write(chunk)


def _check_status(response: requests.Response, url: str) -> None:
    if response.status_code in (403, 404, 410):
        raise NotThereError(f"{url}: the server answers {response.status_code}")
    if response.status_code >= 400:
        raise TransientError(f"{url}: the server answers {response.status_code}; try again later")


def _mismatch(path: Path, remote: RemoteFile) -> str | None:
    size = path.stat().st_size
    if size != remote.size_bytes:
        return f"{size} bytes came, {remote.size_bytes} were promised"
    if file_digest(path) != remote.sha256:
        return f"its sha256 is not {remote.sha256[:12]}..."
    return None


def _local_path(url: str) -> Path:
    return Path(unquote(urlparse(url).path))


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:160]

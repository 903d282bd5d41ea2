"""Fetching files over HTTP(S) or from file:// addresses, with retries, resume and verification.

What a server answers is passing or final by the lists in errors.py. A passing failure is met with
exponential back-off and jitter, Retry-After honoured up to a minute, so that COCO's bucket (503
Slow Down, connection resets) is treated gently. Bodies are read as they come, up to a limit of
bytes and of time: neither a wrong length nor a trickling server holds a stage.
"""

import os
import random
import ssl
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, Literal, TypeVar
from urllib.parse import unquote, urljoin, urlparse

import requests
import urllib3
from pydantic import Field
from requests.adapters import HTTPAdapter
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
)

from bucolic.base.errors import (
    LOCAL_SHORTAGES,
    BucolicError,
    DataError,
    TransientError,
    as_transient,
    causes,
    passes,
)
from bucolic.base.files import CHUNK_BYTES, file_digest, remove
from bucolic.base.lock import waiting_for
from bucolic.base.progress import Progress
from bucolic.base.section import Section
from bucolic.data.names import FileName

TIMEOUT_S = (10, 60)  # to connect, and between two pieces of a body
RETRIES = 5
BACKOFF_S = 0.5
LONGEST_WAIT_S = 60.0
IMAGE_LIMIT_BYTES = 256 << 20
IMAGE_LIMIT_S = 300.0
SLOWEST_BYTES_PER_S = 10_000  # of a large file, beyond IMAGE_LIMIT_S
# Answers and addresses that no second try changes, among what requests and urllib3 raise.
FINAL = (
    requests.TooManyRedirects,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    requests.exceptions.ContentDecodingError,
    urllib3.exceptions.DecodeError,
    ValueError,  # of addresses that are none
)
Content = TypeVar("Content")


class RemoteFile(Section):
    """A file known by its addresses, size and content; the addresses are tried in order."""

    name: FileName
    urls: tuple[str, ...] = Field(min_length=1)
    size_bytes: int = Field(gt=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class NotThereError(DataError):
    """The server says for good that there is no such file (404, 410), or a folder has none."""

    status: ClassVar[Literal["not_found", "refused", "corrupt", "too_large"]] = "not_found"


class RefusedError(NotThereError):
    """Any other final answer, or an address that leads nowhere."""

    status = "refused"


class TooLongError(NotThereError):
    """More bytes than there should be; what came of them is of no use."""

    status = "too_large"


class UntrustedError(DataError):
    """The server's certificate does not hold: no word about the file."""


class AwayError(TransientError):
    """A server that is away, busy, slow or breaks off; it may serve the file later.

    Attributes:
        retry_after_s: how long the server asks to be left alone, in seconds; None where it does
            not say.
    """

    def __init__(self, message: str, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class _Session(requests.Session):
    """A session that follows no redirect from https to http, unless it may."""

    def __init__(self, *, allow_http: bool) -> None:
        super().__init__()
        self._allow_http = allow_http

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """The next address; RefusedError where content without a digest would lose its seal."""
        target = super().get_redirect_target(resp)
        if target and not self._allow_http and is_downgrade(resp.url, urljoin(resp.url, target)):
            raise RefusedError(f"{resp.url}: it leads from https to {target}")
        return target


def is_downgrade(url: str, later: str) -> bool:
    """Whether `later` gives up the https of `url`."""
    return urlparse(url).scheme == "https" and urlparse(later).scheme == "http"


def open_session(connections: int = 16, *, allow_http: bool = True) -> requests.Session:
    """A session that keeps up to `connections` open.

    Args:
        connections: simultaneous transfers.
        allow_http: whether an https address may lead to an http one; only content that is
            checked against a digest may lose its seal.
    """
    session = _Session(allow_http=allow_http)
    # Packed bodies would make sizes, ranges and limits mean something else.
    session.headers["Accept-Encoding"] = "identity"
    adapter = HTTPAdapter(pool_maxsize=connections)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


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
    ends_s = time.monotonic() + IMAGE_LIMIT_S

    def get(url: str) -> bytes:
        with _asking(session, url) as response:
            return b"".join(_body(response, limit_bytes, ends_s))

    def from_address(url: str) -> bytes:
        if is_local(url):
            return read_file(local_path(url), url, limit_bytes)
        return _patiently(lambda: get(url), tries, ends_s)

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
        with _asking(session, url, asked) as response:
            if not _continues(response, have):
                have = 0
            progress = Progress(f"fetched {partial.stem}", size_bytes, is_bytes=True, done=have)
            with partial.open("ab" if have else "wb") as file:
                for piece in progress.over(_body(response, size_bytes - have, ends_s), len):
                    file.write(piece)
            if "Content-Length" not in response.headers and partial.stat().st_size < size_bytes:
                raise AwayError(f"{url}: it broke off")

    _patiently(resume, RETRIES + 1, ends_s)


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


def _patiently(once: Callable[[], Content], tries: int, ends_s: float) -> Content:
    """The result of `once`, called up to `tries` times while its failures may pass."""
    retrying = Retrying(
        retry=retry_if_exception_type(AwayError),
        wait=_wait_s,
        stop=stop_after_attempt(tries) | stop_before_delay(ends_s - time.monotonic()),
        reraise=True,
    )
    return retrying(once)


def _wait_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    asked_s = error.retry_after_s if isinstance(error, AwayError) else None
    return wait_before(state.attempt_number - 1, asked_s)


def wait_before(attempt: int, retry_after_s: float | None) -> float:
    """Seconds to wait after the failed attempt number `attempt`, from 0."""
    backoff_s = BACKOFF_S * 2.0**attempt * random.uniform(0.5, 1.5)  # noqa: S311 - no secret
    return min(max(backoff_s, retry_after_s or 0), LONGEST_WAIT_S)


@contextmanager
def _asking(
    session: requests.Session, url: str, headers: dict[str, str] | None = None
) -> Iterator[requests.Response]:
    """Yield the answer to a question; what goes wrong until the block ends is passing or final."""
    try:
        with session.get(url, stream=True, timeout=TIMEOUT_S, headers=headers) as response:
            _check_status(response, url, resuming=bool(headers))
            yield response
    except (requests.RequestException, urllib3.exceptions.HTTPError, ValueError) as error:
        raise _told(error, url) from None


def _told(error: Exception, url: str) -> BucolicError:
    found = list(causes(error))
    short = (e for e in found if isinstance(e, OSError) and e.errno in LOCAL_SHORTAGES)
    if passing := next(filter(None, map(as_transient, short)), None):
        return passing
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in found):
        return UntrustedError(f"{url}: {_reason(error)}: mend the address or the certificates")
    if isinstance(error, FINAL):
        return RefusedError(f"{url}: {_reason(error)}")
    return AwayError(f"{url}: {_reason(error)}")


def _check_status(response: requests.Response, url: str, *, resuming: bool) -> None:
    status = response.status_code
    said = f"{url}: the server answers {status}"
    if passes(status):
        raise AwayError(said, _retry_after_s(response))
    if status in (404, 410):
        raise NotThereError(said)
    if status == 416 and resuming:
        raise TooLongError(f"{said}: the part kept is longer than the file")
    if status not in ((200, 206) if resuming else (200,)):
        raise RefusedError(said)


def _retry_after_s(response: requests.Response) -> float | None:
    try:
        return float(urllib3.Retry().parse_retry_after(response.headers.get("Retry-After", "")))
    except (ValueError, OverflowError, urllib3.exceptions.InvalidHeader):
        return None


def _body(response: requests.Response, limit_bytes: int, ends_s: float) -> Iterator[bytes]:
    """Yield the body as it comes."""
    came = 0
    # iter_content would wait for a whole mebibyte, and a trickle for ever.
    while piece := response.raw.read1(CHUNK_BYTES, decode_content=True):
        came += len(piece)
        if came > limit_bytes:
            raise TooLongError(f"{response.url}: over the limit of {limit_bytes:,} bytes")
        if time.monotonic() > ends_s:
            raise AwayError(f"{response.url}: it comes too slowly")
        yield piece


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


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0][:160]

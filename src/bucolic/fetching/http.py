"""Asking a server over HTTP(S): what goes wrong, and how patiently one asks again.

What a server answers is passing or final by the lists in errors.py. A passing failure is met with
exponential back-off and jitter, Retry-After honoured up to a minute, so that COCO's bucket (503
Slow Down, connection resets) is treated gently. Bodies are read as they come, up to a limit of
bytes and of time: neither a wrong length nor a trickling server holds a stage.
"""

import random
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal, TypeVar
from urllib.parse import urljoin, urlparse

import requests
import urllib3
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
from bucolic.base.files import CHUNK_BYTES

TIMEOUT_S = (10, 60)  # to connect, and between two pieces of a body
RETRIES = 5
BACKOFF_S = 0.5
LONGEST_WAIT_S = 60.0
RANGE_LIMIT_S = 300.0
THIS_MACHINE = {"127.0.0.1", "::1", "localhost"}
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
    """A session that follows redirects only where it may."""

    def __init__(self, follows: Callable[[str, str], bool]) -> None:
        super().__init__()
        self._follows = follows

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """The next address; RefusedError where content without a digest would lose its seal."""
        target = super().get_redirect_target(resp)
        if target and not self._follows(resp.url, urljoin(resp.url, target)):
            raise RefusedError(f"{resp.url}: it leads from {urlparse(resp.url).scheme} to {target}")
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
    return _opened(_Session(lambda a, b: allow_http or not is_downgrade(a, b)), connections)


def open_sealed_session(url: str, connections: int = 1) -> requests.Session:
    """A session for content without a digest that is at `url`, between whom and us nobody stands.

    It follows no redirect to where that is not so, and from elsewhere none to this machine: what is
    here is asked for without a proxy, which would else stand between.
    """
    is_here = _is_here(url)
    follows = is_sealed if is_here else _is_elsewhere_sealed
    session = _opened(_Session(lambda _, target: follows(target)), connections)
    session.trust_env = not is_here
    return session


def is_sealed(url: str) -> bool:
    """Whether nobody can stand between: over https, or on this machine."""
    scheme = urlparse(url).scheme
    return scheme == "https" or (scheme == "http" and _is_here(url))


def _is_elsewhere_sealed(url: str) -> bool:
    return is_sealed(url) and not _is_here(url)


def _is_here(url: str) -> bool:
    return urlparse(url).hostname in THIS_MACHINE


def _opened(session: requests.Session, connections: int) -> requests.Session:
    # Packed bodies would make sizes, ranges and limits mean something else.
    session.headers["Accept-Encoding"] = "identity"
    adapter = HTTPAdapter(pool_maxsize=connections)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def fetch_range(
    session: requests.Session,
    url: str,
    start: int,
    length: int,
    size_bytes: int,
    tries: int = RETRIES + 1,
) -> bytes:
    """Fetch `length` bytes from `start` of a file that is `size_bytes` long.

    Raises:
        NotThereError: there is no such file, it is of another size, or is served whole alone.
        AwayError: the server failed in a way that may pass.
    """
    ends_s = time.monotonic() + RANGE_LIMIT_S
    span = f"{start}-{start + length - 1}"

    def get() -> bytes:
        with asking(session, url, {"Range": f"bytes={span}"}) as response:
            sent = response.headers.get("Content-Range", "")
            if response.status_code != 206 or sent != f"bytes {span}/{size_bytes}":
                raise RefusedError(
                    f"{url}: asked for bytes {span} of {size_bytes}, it sends others"
                )
            content = b"".join(body(response, length, ends_s))
        if len(content) < length:
            raise AwayError(f"{url}: it broke off")
        return content

    return patiently(get, tries, ends_s)


def patiently(once: Callable[[], Content], tries: int, ends_s: float) -> Content:
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
def asking(
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


def body(response: requests.Response, limit_bytes: int, ends_s: float) -> Iterator[bytes]:
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


def _reason(error: Exception) -> str:
    words = str(error).splitlines() or [type(error).__name__]
    return words[0][:160]

"""The errors a user can cause or meet, each with the exit code that tells callers what to do.

Each message is one line: what is wrong, where, and what to do about it.

What may pass by itself is a closed list, and it is here: answers of a server (`passes`), broken
connections (`is_outage`), and what this machine runs out of or loses (`as_transient`).
"""

import errno
import os
import re
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor
from urllib.error import URLError


class BucolicError(Exception):
    """Root of every error that ends in one clear line instead of a traceback.

    A line end or another control character in a name that the message quotes is shown as Python
    would write it: it can make no second line.
    """

    exit_code = 1
    kind = "error"
    retryable = False

    def __init__(self, message: str) -> None:
        super().__init__("".join(c if c.isprintable() else _escaped(c) for c in message))


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


class ParamsError(BucolicError):
    """params.yaml, or a value given on the command line, cannot be used as it stands."""

    exit_code = 2
    kind = "params"


class DataError(BucolicError):
    """A file or folder is missing, broken, or not what its reader expects."""

    exit_code = 3
    kind = "data"


class TransientError(BucolicError):
    """Something that may pass by itself: a busy lock, a server that is away (EX_TEMPFAIL)."""

    exit_code = 75
    kind = "transient"
    retryable = True


def _numbers(names: str) -> set[int]:
    """The numbers of the errors that this system knows; macOS, for one, has no EREMOTEIO."""
    return {getattr(errno, name) for name in names.split() if hasattr(errno, name)}


# Trouble of this machine and its disks: what it is called, and what to do. Nothing that is tried
# again at once gets round it, so a stage ends there.
_SAID = {
    "ENOSPC": ("no space left", "free some"),
    "EDQUOT": ("the disk quota is used up", "free some"),
    "ENOMEM": ("out of memory", "free some"),
    "ENOBUFS": ("out of memory for the network", "free some"),
    "EMFILE": ("too many open files", "raise `ulimit -n`"),
    "ENFILE": ("too many open files on this machine", "close some"),
    "EAGAIN": ("out of processes, locks or memory for now", "wait a little"),
    "ENOLCK": ("out of file locks", "wait a little"),
    "EIO": ("the disk cannot be read or written", "look after it"),
    "ESTALE": ("the network disk was mounted anew", "look after it"),
    "EREMOTEIO": ("the network disk cannot be read or written", "look after it"),
    "ENOTCONN": ("the network disk is not connected", "look after it"),
}
SHORTAGES = {number: said for name, said in _SAID.items() for number in _numbers(name)}
# Those that are this machine's also where a transfer meets them: of a socket, the others speak of
# the other side.
LOCAL_SHORTAGES = _numbers("ENOSPC EDQUOT ENOMEM ENOBUFS EMFILE ENFILE EIO ESTALE")
# A server or network disk that cannot be reached now.
OUTAGES = _numbers(
    "ETIMEDOUT ECONNRESET ECONNREFUSED ECONNABORTED "
    "EHOSTDOWN EHOSTUNREACH ENETDOWN ENETUNREACH ENETRESET"
)
DENIALS = _numbers("EACCES EPERM EROFS")
_UNREACHED = (ConnectionError, TimeoutError, socket.gaierror, URLError)
PASSING_STATUSES = {408, 425, 429}
# Words of libraries that raise no OSError: Rust's for an errno, PyTorch's for memory.
_RUST_ERRNO = re.compile(r"\(os error (\d+)\)")
_NO_MEMORY = re.compile(r"CUDA out of memory|can't allocate memory|not enough memory")


def passes(status: int) -> bool:
    """Whether what an HTTP status says may pass by itself; any other answer is final."""
    return status in PASSING_STATUSES or 500 <= status < 600


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it came of, outermost first."""
    while error is not None:
        yield error
        reason = getattr(error, "reason", None)  # urllib's and urllib3's way to name the cause
        inner = reason if isinstance(reason, BaseException) else None
        error = error.__cause__ or error.__context__ or inner


def is_outage(error: BaseException) -> bool:
    """Whether a server could not be reached or answered that it cannot serve now.

    Resets, timeouts and names that do not resolve are outages: a machine without network cannot
    tell a wrong name from one it cannot ask about. A certificate that does not hold is none.
    """
    found = list(causes(error))
    if any(isinstance(cause, ssl.SSLCertVerificationError) for cause in found):
        return False
    for cause in found:
        if (status := _http_status(cause)) is not None:
            return passes(status)
        if isinstance(cause, _UNREACHED) or _errno(cause) in OUTAGES:
            return True
    return False


def as_transient(error: BaseException, place: str = "") -> TransientError | None:
    """The one line and exit code 75 for trouble of this machine that may pass; None for the rest.

    Memory and space that ran out, disks and connections that were lost: whoever runs the same
    command again, once that is mended, gets the same bytes.

    Args:
        error: what was raised.
        place: the file it is about, where the caller knows better than the error.
    """
    if isinstance(error, TransientError):
        return error
    if isinstance(error, BucolicError) or (trouble := _trouble(error)) is None:
        return None
    what, advice = trouble
    where = f" at {place}" if place else _place(error)
    said = TransientError(f"{what}{where}: {advice} and run the same command again")
    return said.with_traceback(error.__traceback__)


def as_told(error: BaseException) -> BucolicError | None:
    """An error of the user's or the machine's as its one line; None for one of the program's."""
    if isinstance(error, BucolicError):
        return error
    return as_transient(error) or _as_denied(error)


def _as_denied(error: BaseException) -> DataError | None:
    """What this user may not do with a file, which no time mends."""
    if not isinstance(error, OSError) or error.errno not in DENIALS:
        return None
    said = DataError(
        f"{os.strerror(error.errno).lower()}{_place(error)}: "
        "give this user the right to it, or work in a checkout of their own"
    )
    return said.with_traceback(error.__traceback__)


def _trouble(error: BaseException) -> tuple[str, str] | None:
    number = _errno(error)
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return SHORTAGES[errno.ENOMEM]
    if isinstance(error, BrokenExecutor):
        return "a worker process was killed, perhaps for want of memory", "free some"
    if number in OUTAGES:
        return os.strerror(number).lower(), "see that the other side is there"
    return SHORTAGES.get(number)


def _is_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(str(error)))


def _errno(error: BaseException) -> int:
    """The system's number of an error; 0 where it has none, or one of another list."""
    if isinstance(error, (ssl.SSLError, socket.gaierror, socket.herror)):
        return 0
    if isinstance(error, OSError):
        return error.errno or 0
    found = _RUST_ERRNO.search(str(error))
    return int(found[1]) if found else 0


def _http_status(error: BaseException) -> int | None:
    """The status that requests, httpx or urllib carry in an error."""
    status = getattr(getattr(error, "response", None), "status_code", getattr(error, "code", None))
    return status if isinstance(status, int) else None


def _place(error: BaseException) -> str:
    names = [getattr(error, "filename", None), getattr(error, "filename2", None)]
    return next((f" at {os.fsdecode(name)}" for name in names if isinstance(name, str | bytes)), "")

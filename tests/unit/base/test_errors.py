"""The closed list of what may pass by itself."""

import errno
import os
import pickle
import runpy
import socket
import ssl
from collections.abc import Callable
from concurrent.futures import BrokenExecutor
from pathlib import Path
from urllib.error import HTTPError, URLError

import pytest
from safetensors import SafetensorError

from bucolic.base import errors
from bucolic.base.errors import DataError, TransientError, as_transient, is_outage, passes

TROUBLE = (OSError, MemoryError, RuntimeError, SafetensorError)


def raised(action: Callable[[], object]) -> BaseException:
    """The error an action raises."""
    with pytest.raises(TROUBLE) as caught:
        action()
    return caught.value


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 503, 504, 507, 599])
def test_answers_that_pass(status: int):
    """Busy, too early, too late and every 5xx may be otherwise later."""
    assert passes(status)


@pytest.mark.parametrize("status", [200, 206, 301, 304, 400, 401, 403, 404, 407, 410, 416, 451])
def test_answers_that_are_final(status: int):
    """Every other answer is the server's last word."""
    assert not passes(status)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "no space left at data/images: free some"),
        (errno.EDQUOT, "the disk quota is used up at data/images: free some"),
        (errno.ENOMEM, "out of memory at data/images: free some"),
        (errno.EMFILE, "too many open files at data/images: raise `ulimit -n`"),
        (errno.ENFILE, "too many open files on this machine at data/images: close some"),
        (errno.EIO, "the disk cannot be read or written at data/images: look after it"),
        (errno.ESTALE, "the network disk was mounted anew at data/images: look after it"),
        (errno.ENOTCONN, "the network disk is not connected at data/images: look after it"),
        (errno.EAGAIN, "out of processes, locks or memory for now at data/images: wait a little"),
        (errno.ETIMEDOUT, "connection timed out at data/images: see that the other side is there"),
    ],
)
def test_trouble_of_the_machine_is_one_line_and_75(number: int, said: str):
    """Each names what is short or lost, where, and what to do."""
    error = as_transient(OSError(number, os.strerror(number), "data/images"))
    assert f"{said} and run the same command again" == str(error)
    assert (75, True) == (error.exit_code, error.retryable)


@pytest.mark.parametrize(
    "number", [errno.ENOENT, errno.EACCES, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, 0]
)
def test_other_errors_of_the_system_do_not_pass(number: int):
    """What stays as it is until somebody changes it is no passing failure."""
    assert as_transient(OSError(number, "x")) is None
    assert as_transient(OSError("without a number")) is None


def test_a_system_without_some_of_the_numbers_has_the_others(monkeypatch: pytest.MonkeyPatch):
    """No EREMOTEIO on macOS, no EDQUOT elsewhere: the list is read there all the same."""
    names = ("EREMOTEIO", "EDQUOT", "EHOSTDOWN")
    absent = {getattr(errno, name) for name in names}
    for name in names:
        monkeypatch.delattr(errno, name)
    listed = runpy.run_path(errors.__file__)
    assert errors.SHORTAGES.keys() - absent == listed["SHORTAGES"].keys()
    assert errors.OUTAGES - absent == listed["OUTAGES"]


def test_a_full_disk_is_told_by_the_real_error():
    """A device without space gives the line; no name is invented where the system gives none."""
    error = raised(lambda: Path("/dev/full").write_bytes(b"x" * 10))
    assert "no space left: free some and run the same command again" == str(as_transient(error))


def test_a_disk_that_cannot_be_read_is_told_by_the_real_error():
    """The kernel's own input/output error passes."""
    error = raised(Path("/proc/self/mem").read_bytes)
    assert str(as_transient(error)).startswith("the disk cannot be read or written")


def test_memory_that_ran_out_is_told_whoever_says_it():
    """Python, PyTorch, pyarrow and a worker killed by the system each say it their own way."""
    import pyarrow as pa
    import torch

    errors = [
        raised(lambda: bytearray(1 << 60)),
        raised(lambda: torch.empty(1 << 60, dtype=torch.uint8)),
        raised(lambda: pa.allocate_buffer(1 << 60)),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
    ]
    said = "out of memory: free some and run the same command again"
    assert [said] * 4 == [str(as_transient(error)) for error in errors]
    assert "a worker process was killed" in str(as_transient(BrokenExecutor("abruptly")))


def test_libraries_in_rust_and_arrow_keep_the_systems_number(tmp_path: Path):
    """Arrow and safetensors name no OSError of Python's own making, and are understood."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from safetensors.torch import save_file

    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    table = pa.table({"x": list(range(100_000))})
    errors = [
        raised(lambda: pq.write_table(table, full)),
        raised(lambda: save_file({"x": torch.zeros(100_000)}, tmp_path / "no" / "folder")),
    ]
    assert str(as_transient(errors[0])).startswith("no space left")
    assert "(os error 2)" in str(errors[1])
    assert as_transient(errors[1]) is None
    assert str(as_transient(Exception("I/O error: no (os error 28)"))).startswith("no space left")


def test_numbers_of_another_list_are_not_taken_for_the_systems():
    """TLS and the resolver number their errors themselves: their 5 is no broken disk."""
    assert as_transient(ssl.SSLError(5, "syscall")) is None
    assert as_transient(socket.gaierror(5, "no address")) is None


def test_what_is_known_already_stays_what_it_is():
    """A passing failure is itself, and an error of the data never turns into one."""
    known = TransientError("the server is away")
    assert as_transient(known) is known
    assert as_transient(DataError("CUDA out of memory (os error 28)")) is None
    assert as_transient(ValueError("a bug")) is None


def test_the_line_keeps_where_it_happened():
    """The traceback goes along, for the record's 'where'."""
    error = raised(lambda: bytearray(1 << 60))
    assert as_transient(error).__traceback__ is error.__traceback__


@pytest.mark.parametrize(
    ("bottom", "away"),
    [
        (ConnectionResetError("reset"), True),
        (TimeoutError("timed out"), True),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), True),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), True),
        (OSError(errno.EHOSTUNREACH, "no route"), True),
        (URLError(ConnectionRefusedError(111, "refused")), True),
        (URLError(ssl.SSLCertVerificationError(1, "self-signed")), False),
        (HTTPError("http://hub", 503, "slow down", None, None), True),
        (HTTPError("http://hub", 429, "slow down", None, None), True),
        (HTTPError("http://hub", 404, "not found", None, None), False),
        (ssl.SSLCertVerificationError(1, "self-signed"), False),
        (ValueError("size mismatch"), False),
    ],
)
def test_an_outage_is_found_however_deep(bottom: Exception, away: bool):
    """What a library made of it on the way up does not matter."""
    error = RuntimeError("failed")
    error.__context__ = bottom
    assert away is is_outage(error)


def test_errors_travel_between_processes():
    """A worker's error arrives with its number."""
    error = pickle.loads(pickle.dumps(OSError(errno.ENOSPC, "x", "a")))  # noqa: S301 - our own
    assert "no space left at a" in str(as_transient(error))


def test_a_message_is_one_line_whatever_it_quotes():
    """Names may hold line ends, control characters and halves of pairs; letters stay."""
    error = DataError("no file 'vache \u00e9\n\x1b[31m\u2028\udc80': mend it")
    assert "no file 'vache \u00e9\\n\\x1b[31m\\u2028\\udc80': mend it" == str(error)
    assert 1 == len(str(error).splitlines())

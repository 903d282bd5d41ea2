"""The lock of a stage."""

import errno
import fcntl
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bucolic.base.errors import TransientError
from bucolic.base.lock import holding

HOLD = """
import sys, time; from pathlib import Path
from bucolic.base.lock import holding
with holding(Path(sys.argv[1])):
    print("held", flush=True); time.sleep(60)
"""


def test_a_second_process_is_told_which_one_the_first_is(tmp_path: Path):
    """A busy lock is a passing failure, exit 75, with pid and host; a killed holder frees it."""
    path = tmp_path / "embed.lock"
    child = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert child.stdout is not None
    assert b"held\n" == child.stdout.readline()
    with (
        pytest.raises(TransientError, match=f"embed is running already as process {child.pid}"),
        holding(path),
    ):
        pass
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    with holding(path):
        assert f"{os.getpid()} on {socket.gethostname()}" == path.read_text()


def test_a_disk_without_the_kernels_locks_is_an_error_and_no_lock_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A marker file in its place would go on holding the lock after its holder was killed."""

    def without(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", without)
    with pytest.raises(OSError, match="Function not implemented"), holding(tmp_path / "a.lock"):
        pass

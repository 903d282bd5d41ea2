"""A pipeline's run ends with the process that drives it."""

import fcntl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bucolic.files import process_name
from bucolic.tracking import closing, hooks
from bucolic.tracking.closing import OPEN, close_after, is_open
from bucolic.tracking.outbox import flush


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that stands for DVC."""
    process = subprocess.Popen(["sleep", "1000"])
    yield process
    process.kill()
    process.wait()


def state(client: Any) -> str:
    """State of the only pipeline's run."""
    (run,) = client.search_runs(["1"], "tags.kind = 'pipeline'")
    return str(run.info.status)


def is_locked(path: Path) -> bool:
    """Whether another process holds the lock."""
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_a_part_of_a_pipeline_ends_with_its_driver(
    home: Path, client: Any, leave: Any, child: subprocess.Popen[bytes]
):
    """RUNNING while DVC may still run another stage; one process waits, a second does not."""
    driver = process_name(child.pid)
    leave("filter", driver=driver)
    flush(home)
    assert is_open(home, driver)
    waiting = subprocess.Popen([sys.executable, "-m", closing.__name__, str(home), driver])
    while not is_locked(home / OPEN / driver) and waiting.poll() is None:
        time.sleep(0.01)
    close_after(home, driver)  # returns at once, since the other holds the lock
    assert state(client) == "RUNNING"
    assert waiting.poll() is None
    child.kill()
    child.wait()
    assert waiting.wait(timeout=60) == 0
    assert state(client) == "FINISHED"
    assert not is_open(home, driver)


def test_the_last_stage_leaves_nothing_to_wait_for(home: Path, leave: Any):
    """After evaluate no process waits for DVC's end."""
    driver = process_name(1)
    leave("filter", driver=driver)
    flush(home)
    assert is_open(home, driver)
    leave("evaluate", driver=driver, started="2026-01-02T03:10:00+00:00")
    flush(home)
    assert not is_open(home, driver)


def test_training_alone_ends_its_pipeline_as_well(
    home: Path, client: Any, leave: Any, child: subprocess.Popen[bytes], monkeypatch: Any
):
    """A stage that sends its record itself leaves the waiting to another process."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    monkeypatch.setattr(hooks, "driver", lambda: process_name(child.pid))
    leave("train", driver=process_name(child.pid))
    hooks.send(home, wait=True)
    assert state(client) == "RUNNING"
    child.kill()
    child.wait()
    deadline = time.monotonic() + 60
    while is_open(home, process_name(child.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert state(client) == "FINISHED"

"""A pipeline's run ends with the process that drives it."""

import fcntl
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bucolic.base.files import process_name, this_process
from bucolic.base.report import NoSink
from bucolic.tracking import closing, hooks
from bucolic.tracking.closing import OPEN, is_open, left_open, wait_for_end
from bucolic.tracking.mlflow_store import open_store
from bucolic.tracking.outbox import Delivery, flush
from made_records import record_of


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
    before = set(psutil.Process().children())
    hooks._start(home, home, closing.__name__, str(home), driver)
    (waiting,) = set(psutil.Process().children()) - before
    while not is_locked(home / OPEN / driver) and waiting.is_running():
        time.sleep(0.01)
    assert not wait_for_end(home, driver)  # at once, since the other holds the lock
    assert state(client) == "RUNNING"
    assert waiting.is_running()
    child.kill()  # it stays a zombie, as in a container whose first process waits for nobody
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


def test_training_that_is_killed_fails_its_pipeline_without_being_asked(
    home: Path, client: Any, child: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
):
    """Nobody has to run anything again to see that it is not running any more."""
    driver = process_name(child.pid)
    record = {**record_of("train"), "driver": driver}
    run_id = open_store(home).run_of(record)
    client.set_tag(run_id, "process", driver)  # killed with DVC
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    monkeypatch.setattr(hooks.sink, "open_tracker", lambda *_, **__: NoSink())
    monkeypatch.chdir(home)
    (home / "dvc.yaml").write_text("stages: {}")
    hooks.open_tracker(record)
    assert state(client) == "RUNNING"
    child.kill()
    deadline = time.monotonic() + 60
    while is_open(home, driver) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert client.get_run(run_id).info.status == "KILLED"
    assert state(client) == "FAILED"


def test_what_could_not_be_ended_is_ended_by_track(home: Path, client: Any, leave: Any):
    """The process that waited was killed: with no record to send, the run ends all the same."""
    leave("filter", driver=this_process())
    flush(home)
    (run,) = client.search_runs(["1"], "tags.kind = 'pipeline'")
    gone = this_process().replace(str(os.getpid()), "4194305")  # above Linux's highest number
    client.set_tag(run.info.run_id, "driver", gone)
    (home / OPEN / this_process()).rename(home / OPEN / gone)
    assert flush(home, home, search=True) == Delivery()
    assert state(client) == "FINISHED"
    assert list((home / OPEN).iterdir()) == []


def test_a_stage_that_begins_makes_its_pipeline_run_again(home: Path, client: Any, leave: Any):
    """Training under a pipeline that had ended is not hidden for hours."""
    leave("filter", driver=this_process().replace(str(os.getpid()), "4194305"))
    flush(home)
    assert state(client) == "FINISHED"
    open_store(home).run_of({**record_of("train"), "driver": this_process()})
    assert state(client) == "RUNNING"


@pytest.mark.parametrize(("days", "is_left"), [(2, False), (15, True)])
def test_another_hosts_driver_lives_as_long_as_a_run_may_take(home: Path, days: int, is_left: bool):
    """It cannot be asked, so its note stays for two weeks."""
    note = home / OPEN / "elsewhere-1"
    note.parent.mkdir(parents=True)
    note.touch()
    touched_s = time.time() - days * 86_400
    os.utime(note, (touched_s, touched_s))
    assert left_open(home) == ([note] if is_left else [])

"""What the command line asks of tracking."""

import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bucolic.base.signals import ASKING, hear_no_more, hold_back, let_through
from bucolic.tracking import hooks
from bucolic.tracking.mlflow_store import exclusive


def test_waiting_sends_at_once(home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch):
    """With wait the records have arrived when the call returns."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    leave("filter")
    hooks.send(home, wait=True)
    assert list((home / ".work" / "outbox").iterdir()) == []


def test_without_waiting_a_background_process_sends(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """The call returns before anything is sent; the outbox empties all the same."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    leave("filter")
    outbox = home / ".work" / "outbox"
    hooks.send(home, wait=False)
    assert len(list(outbox.iterdir())) == 1
    deadline = time.monotonic() + 120
    while list(outbox.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(outbox.iterdir()) == []


def test_records_of_an_experiment_that_dvc_removes_are_sent(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """DVC takes the folder and its code away before MLflow is loaded."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    passing = home / ".dvc/tmp/exps/standalone/tmp1"
    (passing / "src").mkdir(parents=True)
    leave("filter", root=str(passing))
    with exclusive(home):
        hooks.send(passing, wait=False)
        shutil.rmtree(home / ".dvc")
    deadline = time.monotonic() + 120
    outbox = home / ".work" / "outbox"
    while list(outbox.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(outbox.iterdir()) == []


@pytest.mark.parametrize("number", ASKING)
def test_the_background_process_can_be_ended(home: Path, leave: Any, number: signal.Signals):
    """A stage that ends ignores signals or lets them wait; what it sends off hears them."""
    leave("filter")
    before = psutil.Process().children()
    former = {one: signal.getsignal(one) for one in ASKING}
    with exclusive(home):  # the sender waits for its turn, and so cannot end by itself
        try:
            hear_no_more()
            hold_back()
            hooks._start(home, home, hooks.closing.SENDER, str(home), str(home))
        finally:
            for one, handler in former.items():
                signal.signal(one, handler)
            let_through()
        (sender,) = set(psutil.Process().children()) - set(before)
        try:
            sender.send_signal(number)  # it waits in the process until it is let through
            assert sender.wait(timeout=60) == -number
        finally:
            if sender.is_running():
                sender.kill()


def test_an_empty_outbox_starts_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing waits: no process is started and MLflow is not opened."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    monkeypatch.setattr(hooks, "_start", lambda *_: pytest.fail("started"))
    hooks.send(home, wait=False)


def test_nothing_that_goes_wrong_with_sending_reaches_the_stage(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """A process that cannot be started is one warning."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    leave("filter")

    def fail(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(hooks.subprocess, "Popen", fail)
    hooks.send(home, wait=False)
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("bucolic")]
    assert "Resource temporarily unavailable; `bucolic track` sends the records" in line


def test_a_log_that_cannot_be_written_stops_no_sender(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    """HOME on a read-only disk: what the sender says goes nowhere, and it is started."""
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / ".work").touch()
    assert str(hooks._log_path(bare)) == "/dev/null"
    assert hooks._log_path(home) == home / ".work/logs/tracking.log"


def test_a_stage_that_cannot_send_says_so_in_one_line(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Train and evaluate wait for MLflow; where it is away they end well and say what waits."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:////proc/x/mlflow.db")
    leave("filter")
    hooks.send(home, wait=True)
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("bucolic")]
    assert line.endswith("; 1 record waits, `bucolic track` sends them")

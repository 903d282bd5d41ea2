"""What the command line asks of tracking."""

import time
from pathlib import Path
from typing import Any

import pytest

from bucolic.tracking import hooks


def test_waiting_sends_at_once(home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch):
    """With wait the records have arrived when the call returns."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    leave("filter")
    assert hooks.send(home, wait=True) == 1


def test_without_waiting_a_background_process_sends(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """The call returns before anything is sent; the outbox empties all the same."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    leave("filter")
    outbox = home / ".work" / "outbox"
    assert hooks.send(home, wait=False) == 0
    assert len(list(outbox.iterdir())) == 1
    deadline = time.monotonic() + 120
    while list(outbox.iterdir()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert list(outbox.iterdir()) == []


def test_an_empty_outbox_starts_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    """Nothing waits: no process is started and MLflow is not opened."""
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    monkeypatch.setattr(hooks, "_send_in_background", lambda *_: pytest.fail("started"))
    assert hooks.send(home, wait=False) == 0

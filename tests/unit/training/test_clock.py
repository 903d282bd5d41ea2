import pytest

from bucolic.training import clock
from bucolic.training.clock import Clock


def test_it_is_due_once_the_interval_has_passed_since_the_start(monkeypatch: pytest.MonkeyPatch):
    """Five seconds: not due after four, due after five, and not after it was started anew."""
    now = [100.0]
    monkeypatch.setattr(clock.time, "monotonic", lambda: now[0])
    watched = Clock(5)
    watched.start()
    now[0] = 104.0
    assert not watched.due()
    now[0] = 105.0
    assert watched.due()
    watched.start()
    assert not watched.due()

"""Progress lines: when they come, and what they say."""

import logging
from collections.abc import Callable

import pytest

from bucolic.base import progress as module
from bucolic.base.progress import Progress

Wait = Callable[[float], None]


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Wait:
    """Let seconds pass on a clock of the test's own."""
    now_s = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now_s[0])
    caplog.set_level(logging.INFO, "bucolic")

    def passes(seconds: float) -> None:
        now_s[0] += seconds

    return passes


def test_quick_work_says_nothing(wait: Wait, caplog: pytest.LogCaptureFixture):
    """Under ten seconds there is no line, also none at the end."""
    progress = Progress("embedded", 3)
    for _ in range(3):
        wait(3.0)
        progress.add()
    progress.close()
    assert [] == caplog.messages


def test_a_line_every_ten_seconds_with_rate_and_time_left(
    wait: Wait, caplog: pytest.LogCaptureFixture
):
    """The first after ten seconds, one more each ten, and a last one."""
    progress = Progress("embedded", 100)
    for _ in range(50):
        wait(0.5)
        progress.add(2)
    progress.close()
    assert [
        "embedded 40 of 100, 4 a second, 15 s left",
        "embedded 80 of 100, 4 a second, 5 s left",
        "embedded 100 of 100 in 25 s",
    ] == caplog.messages


def test_the_rate_is_the_recent_one(wait: Wait, caplog: pytest.LogCaptureFixture):
    """It follows a change of pace within three lines; what a killed run did is no pace."""
    progress = Progress("fetched a.zip", 10**9, is_bytes=True, done=900 * 10**6)
    for count in (10**6, 10**7, 10**7, 10**7):
        wait(10.0)
        progress.add(count)
    assert "fetched a.zip 901.0 of 1000.0 MB, 0.1 MB a second, 990 s left" == caplog.messages[0]
    assert "fetched a.zip 931.0 of 1000.0 MB, 1 MB a second, 69 s left" == caplog.messages[-1]


def test_nothing_done_and_too_much_done_divide_by_nothing(
    wait: Wait, caplog: pytest.LogCaptureFixture
):
    """Ten seconds of nothing are a stall; more than the total leaves no time."""
    progress = Progress("drew", 0)
    wait(10.0)
    progress.add(0)
    wait(10.0)
    progress.add(5)
    assert [
        "drew 0 of 0, 0 a second, stalled",
        "drew 5 of 0, 0.25 a second, 0 s left",
    ] == caplog.messages


def test_items_pass_through_in_order_and_are_counted(wait: Wait, caplog: pytest.LogCaptureFixture):
    """Wrapped around items, it yields them and counts as it is told."""
    seen = []
    for piece in Progress("drew", 6).over(["ab", "c", "def"], count=len):
        seen.append(piece)
        wait(5.0)
    assert ["ab", "c", "def"] == seen
    assert ["drew 3 of 6, 0.3 a second, 10 s left", "drew 6 of 6 in 15 s"] == caplog.messages

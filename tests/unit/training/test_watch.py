import logging
from pathlib import Path

import pytest

from bucolic.training import watch
from bucolic.training.watch import Watch


class Pictures:
    def __init__(self) -> None:
        self.taken: list[tuple[int, str, Path]] = []

    def log(self, images_seen: int, values: dict[str, float]) -> None:
        """Nothing to log here."""

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Keep what came."""
        self.taken.append((images_seen, name, path))


def test_a_report_names_picture_rate_and_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """500 images in 10 s are 50 a second; 1,000 more take 20 s."""
    now = [100.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    sink, drawn = Pictures(), []
    looker = Watch(tmp_path / "samples.png", sink, interval_s=5)
    looker.start(500)
    assert not looker.due()
    now[0] = 110.0
    assert looker.due()

    with caplog.at_level(logging.INFO):
        looker.report("prior", 1000, 2000, drawn.append)

    assert "1000 of 2000 images, 50 images/s, 20 s left" in caplog.text
    assert "samples.png" in caplog.text
    assert drawn == [tmp_path / "samples.png"]
    assert sink.taken == [(1000, "prior", tmp_path / "samples.png")]
    assert not looker.due()

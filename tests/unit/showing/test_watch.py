"""What somebody who watches a training gets to see, and when it is due."""

import logging
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bucolic.base.sheet import Block
from bucolic.showing import watch
from bucolic.showing.watch import Watch


class Pictures:
    def __init__(self) -> None:
        self.taken: list[tuple[int, str, Path]] = []

    def log(self, images_seen: int, values: dict[str, float]) -> None:
        """Nothing to log here."""

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Keep what came."""
        self.taken.append((images_seen, name, path))


def test_who_watches_sees_picture_rate_and_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """500 images in 10 s are 50 a second; 1,000 more take 20 s; the tracker gets the picture."""
    now = [100.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    tracker, path = Pictures(), tmp_path / "samples.png"
    looker = Watch(path, tracker)
    looker.start(500)
    now[0] = 110.0

    with caplog.at_level(logging.INFO):
        looker.show("prior", 1000, 2000, lambda: [Block(np.full((1, 3, 8, 8), 70, np.uint8))])

    assert "prior: 1000 of 2000 images, 50 images/s, 20 s left" in caplog.text
    assert "samples.png" in caplog.text
    assert tracker.taken == [(1000, "prior", path)]
    with Image.open(path) as image:
        assert image.getpixel((watch.CELL_PX // 2, watch.CELL_PX // 2)) == (70, 70, 70)

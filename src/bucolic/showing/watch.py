"""What a person watching a run gets to see: the rate, the time left, and pictures of its state.

Nothing of it decides a byte of a result, and none of it is kept: it depends on the clock.
"""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from bucolic.base.report import Tracker
from bucolic.base.sheet import Sheet
from bucolic.showing.pictures import save_sheet

CELL_PX = 128
logger = logging.getLogger(__name__)


class Watch:
    """The sink of a stage that somebody watches; a tracker gets all of it, too."""

    def __init__(self, path: Path, tracker: Tracker) -> None:
        """Show pictures in the PNG at `path`, overwritten each time."""
        self._path = path
        self._tracker = tracker
        self.start(0)

    def start(self, images_seen: int) -> None:
        """Begin to measure the rate of a phase that is at `images_seen`."""
        self._last_s, self._last_images = time.monotonic(), images_seen

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Hand the values on."""
        self._tracker.log(images_seen, values)

    def show(self, phase: str, images_seen: int, images: int, draw: Callable[[], Sheet]) -> None:
        """Refresh the picture, and log how far the phase is and how long the rest will take."""
        seconds = max(time.monotonic() - self._last_s, 1e-9)
        rate = (images_seen - self._last_images) / seconds
        left_s = (images - images_seen) / rate if rate else float("nan")
        save_sheet(self._path, draw(), cell_px=CELL_PX)
        self._tracker.picture(images_seen, phase, self._path)
        logger.info(
            "%s: %d of %d images, %.0f images/s, %.0f s left, pictures in %s",
            *(phase, images_seen, images, rate, left_s, self._path),
        )
        self.start(images_seen)

"""What a person watching a run gets to see: every 20 s a picture, the rate and the time left.

Nothing here changes a weight, and nothing of it is tracked: it depends on the clock.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bucolic.report import Sink

INTERVAL_S = 20.0
logger = logging.getLogger(__name__)


@dataclass
class Watch:
    """Decides when it is time, and says how far a phase is.

    Attributes:
        path: picture file, overwritten each time.
        sink: gets the picture.
        interval_s: seconds between two reports.
    """

    path: Path
    sink: Sink
    interval_s: float = field(default_factory=lambda: INTERVAL_S)
    _last_s: float = field(default_factory=time.monotonic)
    _last_images: int = 0

    def start(self, images_seen: int) -> None:
        """Begin to measure the rate of a phase that is at `images_seen`."""
        self._last_s, self._last_images = time.monotonic(), images_seen

    def due(self) -> bool:
        """Whether the interval has passed."""
        return time.monotonic() - self._last_s >= self.interval_s

    def report(
        self, phase: str, images_seen: int, images: int, draw: Callable[[Path], None]
    ) -> None:
        """Refresh the picture with `draw` and log progress.

        Args:
            phase: name of what is being trained.
            images_seen: so far in this phase.
            images: budget of this phase.
            draw: writes the picture to a path.
        """
        seconds = max(time.monotonic() - self._last_s, 1e-9)
        rate = (images_seen - self._last_images) / seconds
        left_s = (images - images_seen) / rate if rate else float("nan")
        draw(self.path)
        self.sink.picture(images_seen, phase, self.path)
        logger.info(
            "%s: %d of %d images, %.0f images/s, %.0f s left, pictures in %s",
            *(phase, images_seen, images, rate, left_s, self.path),
        )
        self.start(images_seen)

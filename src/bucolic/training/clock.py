"""When a run that is under way keeps what it has: by the clock, which decides no byte of it."""

import time
from dataclasses import dataclass, field

INTERVAL_S = 20.0


@dataclass
class Clock:
    """Tells when `interval_s` seconds have passed since it was started."""

    interval_s: float = field(default_factory=lambda: INTERVAL_S)
    _started_s: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Begin anew."""
        self._started_s = time.monotonic()

    def due(self) -> bool:
        """Whether the interval has passed."""
        return time.monotonic() - self._started_s >= self.interval_s

"""Progress as log lines: one every ten seconds, with the rate and the time left.

Bars would be noise here: DVC and Prefect read a stage's output line by line.
"""

import logging
import time

logger = logging.getLogger(__name__)
INTERVAL_S = 10.0


class Progress:
    """Counts items towards a total and logs now and then."""

    def __init__(self, verb: str, total: int) -> None:
        self._verb = verb
        self._total = total
        self._done = 0
        self._started_s = self._logged_s = time.monotonic()

    def add(self, count: int) -> None:
        """Count `count` more items as done."""
        self._done += count
        now_s = time.monotonic()
        if now_s - self._logged_s < INTERVAL_S:
            return
        self._logged_s = now_s
        rate = self._done / (now_s - self._started_s)
        left_s = (self._total - self._done) / rate
        logger.info(
            "%s %d of %d, %.0f a second, %.0f s left",
            self._verb,
            self._done,
            self._total,
            rate,
            left_s,
        )

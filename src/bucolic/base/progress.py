"""Progress as log lines: one every ten seconds, with the recent rate and the time left.

Bars would be noise here: DVC and Prefect read a stage's output line by line.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

logger = logging.getLogger(__name__)
INTERVAL_S = 10.0
RECENT_LINES = 3  # the rate is that of the time since so many lines ago
MB = 1e6
Item = TypeVar("Item")


class Progress:
    """Counts items, or bytes, towards a total and logs now and then; quick work logs nothing."""

    def __init__(self, verb: str, total: int, *, is_bytes: bool = False, done: int = 0) -> None:
        """Begin to count.

        Args:
            verb: what happens to them: "embedded", "fetched train2017.zip".
            total: how many there will be.
            is_bytes: they are bytes, and told in MB.
            done: how many were done before, by a run that was killed.
        """
        self._verb = verb
        self._total = total
        self._unit = MB if is_bytes else 1
        self._done = done
        self._marks = deque([(time.monotonic(), done)], maxlen=RECENT_LINES)
        self._started_s = self._logged_s = time.monotonic()

    def add(self, count: int = 1) -> None:
        """Count `count` more as done."""
        self._done += count
        now_s = time.monotonic()
        if now_s - self._logged_s >= INTERVAL_S:
            self._log(now_s)

    def close(self) -> None:
        """Log that it is over, where a line came before."""
        if self._logged_s > self._started_s:
            seconds = time.monotonic() - self._started_s
            logger.info("%s %s of %s in %.0f s", self._verb, *self._numbers(), seconds)

    def over(
        self, items: Iterable[Item], count: Callable[[Item], int] = lambda _: 1
    ) -> Iterator[Item]:
        """Yield the items, each counted once the next is asked for, and close at the end."""
        for item in items:
            yield item
            self.add(count(item))
        self.close()

    def _log(self, now_s: float) -> None:
        since_s, before = self._marks[0]
        rate = (self._done - before) / (now_s - since_s)
        left = f"{max(0, self._total - self._done) / rate:.0f} s left" if rate > 0 else "stalled"
        shown = f"{rate / self._unit:.3g}{' MB' if self._unit == MB else ''} a second"
        logger.info("%s %s of %s, %s, %s", self._verb, *self._numbers(), shown, left)
        self._marks.append((now_s, self._done))
        self._logged_s = now_s

    def _numbers(self) -> tuple[str, str]:
        if self._unit == MB:
            return f"{self._done / MB:.1f}", f"{self._total / MB:.1f} MB"
        return str(self._done), str(self._total)

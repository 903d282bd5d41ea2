"""The end of a pipeline's run of which only a part was asked for: it ends with its driver.

    python -m bucolic.tracking.closing HOME DRIVER

While a pipeline's run is RUNNING, HOME/.work/open/DRIVER is there, and one process waits for that
driver's end. Until then it loads nothing that takes memory.
"""

import fcntl
import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from bucolic.files import is_gone, remove
from bucolic.signals import hear_again

OPEN = Path(".work/open")
LOOK_EVERY_S = 0.5


def is_open(home: Path, driver: str) -> bool:
    """Whether a run that `driver` drives has not ended."""
    return (home / OPEN / driver).exists()


def close_after(home: Path, driver: str) -> None:
    """Wait until `driver` is gone, and end its run; at once where another process waits."""
    path = home / OPEN / driver
    with suppress(FileNotFoundError, BlockingIOError), path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        while not is_gone(driver, touched_s=time.time()):
            time.sleep(LOOK_EVERY_S)
        if path.exists():
            from bucolic.tracking.outbox import settle  # noqa: PLC0415 - see above

            settle(home)
        remove(path)


if __name__ == "__main__":
    hear_again()
    os.nice(10)
    close_after(Path(sys.argv[1]), sys.argv[2])

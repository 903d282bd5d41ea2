"""The end of a pipeline's run of which only a part was asked for: it ends with its driver.

    python -m bucolic.tracking.closing HOME DRIVER

While a pipeline's run is RUNNING, HOME/.work/open/DRIVER is there, and one process waits for that
driver's end. Until then it loads nothing that takes memory; then another begins, by the code that
HOME has at that time, since the workspace of an experiment is gone by then.
"""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

from filelock import lock_descriptor

from bucolic.base.files import is_gone, last_touched_s, remove
from bucolic.base.signals import hear_again

OPEN = Path(".work/open")
SENDER = "bucolic.tracking.hooks"  # which is __main__ in the process that sends
LOOK_EVERY_S = 0.5
LONGEST_RUN_S = 14 * 24 * 3600.0  # of another host, which cannot be asked whether it lives


def mark(home: Path, driver: str, *, runs_on: bool) -> None:
    """Note that `driver` drives a pipeline whose run has not ended, or that it has.

    Where HOME cannot be written, whoever sends next ends the run.
    """
    path = home / OPEN / driver
    with suppress(OSError):
        if runs_on:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        else:
            remove(path)


def is_open(home: Path, driver: str) -> bool:
    """Whether a run that `driver` drives has not ended."""
    return (home / OPEN / driver).is_file()


def left_open(home: Path) -> list[Path]:
    """Notes of drivers that are gone, whose runs have not ended."""
    notes = (home / OPEN).glob("*")
    return [note for note in notes if is_gone(note.name, last_touched_s(note), LONGEST_RUN_S)]


def wait_for_end(home: Path, driver: str) -> bool:
    """Wait until `driver` is gone; returns whether it left a run open.

    Returns at once, with False, where another process waits for it.
    """
    path = home / OPEN / driver
    try:
        file = path.open("r+")
    except FileNotFoundError:
        return False
    with file:
        if not lock_descriptor(file.fileno(), blocking=False):
            return False
        while path.exists() and not is_gone(driver, touched_s=time.time()):
            time.sleep(LOOK_EVERY_S)
        return path.exists()


if __name__ == "__main__":
    hear_again()
    os.nice(10)
    if wait_for_end(Path(sys.argv[1]), sys.argv[2]):
        command = [sys.executable, "-m", SENDER, sys.argv[1], sys.argv[1]]
        os.execv(sys.executable, command)  # noqa: S606

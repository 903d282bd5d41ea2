"""What the command line asks of tracking: a sink for a stage, and sending what waits."""

import os
import subprocess
import sys
from pathlib import Path

from bucolic.places import find_home, find_root
from bucolic.report import Sink
from bucolic.tracking import sink
from bucolic.tracking.described import Record
from bucolic.tracking.outbox import flush
from bucolic.tracking.store import enabled

LOG_FILE = Path(".work/logs/tracking.log")


def open_sink(record: Record) -> Sink:
    """Return where the stage of `record` streams curves and pictures to."""
    return sink.open_sink(find_home(find_root(Path.cwd())), record)


def send(root: Path, *, wait: bool) -> int:
    """Send waiting records; return how many arrived while the caller waited.

    Opening MLflow takes seconds. With `wait=False` a background process of low priority does it,
    beside the next stage; it ends by itself, and a failure there leaves the records for next time.
    """
    home = find_home(root)
    if wait or not enabled():
        return flush(home)
    if any((home / ".work" / "outbox").glob("*.json")):
        _send_in_background(home)
    return 0


def _send_in_background(home: Path) -> None:
    log = home / LOG_FILE
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        subprocess.Popen(
            [sys.executable, "-m", "bucolic.tracking.hooks", str(home)],
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


if __name__ == "__main__":
    os.nice(10)
    flush(Path(sys.argv[1]))

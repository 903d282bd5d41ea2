"""What the command line asks of tracking: a sink for a stage, and sending what waits."""

import logging
import os
import subprocess
import sys
from pathlib import Path

from bucolic.errors import BucolicError
from bucolic.pipeline.driver import driver
from bucolic.pipeline.post import posted
from bucolic.places import find_home, find_root
from bucolic.report import Sink
from bucolic.signals import hear_again
from bucolic.tracking import closing, sink
from bucolic.tracking.closing import is_open
from bucolic.tracking.described import Record
from bucolic.tracking.outbox import Delivery, flush
from bucolic.tracking.privacy import may_show_pictures
from bucolic.tracking.sink import one_line
from bucolic.tracking.store import enabled

THIS = "bucolic.tracking.hooks"  # which is __main__ in the process it starts
LOG_FILE = Path(".work/logs/tracking.log")
LOG = logging.getLogger(__name__)


def open_sink(record: Record) -> Sink:
    """Return where the stage of `record` streams curves and pictures to."""
    root = find_root(Path.cwd())
    return sink.open_sink(find_home(root), record, pictures=may_show_pictures(root))


def send(root: Path, *, wait: bool) -> None:
    """Send waiting records after a stage; whatever goes wrong is one warning.

    Opening MLflow takes seconds. With `wait=False` a background process of low priority does it,
    beside the next stage; it ends by itself, and a failure there leaves the records for next time.
    """
    if not enabled():
        return
    try:
        home = find_home(root)
        if wait:
            _flush_and_warn(home, root)
            if is_open(home, driver()):
                _start(home, root, closing.__name__, home, driver())
        elif any(posted(home, root)):
            _start(home, root, THIS, home, root, driver())
    except BucolicError:
        return  # the stage says it
    except Exception as error:  # noqa: BLE001 - tracking never breaks a run
        LOG.warning("MLflow: %s; `bucolic track` sends the records", one_line(error))


def track(root: Path) -> Delivery:
    """Send all records that wait, and those of the workspace that were never sent."""
    return flush(find_home(root), root, search=True)


def _flush_and_warn(home: Path, root: Path) -> None:
    delivery = flush(home, root)
    if delivery.reason:
        LOG.warning("MLflow: %s; %s, `bucolic track` sends them", delivery.reason, delivery.left)


def _start(home: Path, root: Path, module: str, *arguments: Path | str) -> None:
    """Start a module in a process that outlives this one, and logs to HOME."""
    with _log_path(home).open("a") as file:
        subprocess.Popen(
            [sys.executable, "-m", module, *map(str, arguments)],
            cwd=root,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def _log_path(home: Path) -> Path:
    """HOME's log, or nowhere where HOME cannot be written."""
    path = home / LOG_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return Path(os.devnull)
    return path


def _send_and_close(home: Path, root: Path, driver_name: str) -> None:
    """Send what waits; what waits for the driver's end is started anew, without MLflow's memory."""
    os.nice(10)
    _flush_and_warn(home, root)
    if is_open(home, driver_name):
        command = [sys.executable, "-m", closing.__name__, str(home), driver_name]
        os.execv(sys.executable, command)  # noqa: S606


if __name__ == "__main__":
    hear_again()  # a stage that ends ignores signals, and what it starts inherits that
    _send_and_close(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])

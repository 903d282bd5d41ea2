"""What the command line asks of tracking: a sink for a stage, and sending what waits."""

import logging
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from bucolic.base.errors import BucolicError
from bucolic.base.places import find_home, find_root, is_passing
from bucolic.base.report import Tracker
from bucolic.base.signals import hear_again
from bucolic.pipeline.driver import driver
from bucolic.pipeline.post import posted
from bucolic.pipeline.process import MARK
from bucolic.tracking import closing, sink
from bucolic.tracking.closing import is_open, mark
from bucolic.tracking.described import Record
from bucolic.tracking.mlflow_store import enabled
from bucolic.tracking.outbox import Delivery, flush
from bucolic.tracking.privacy import may_show_pictures
from bucolic.tracking.sink import one_line

LOG_FILE = Path(".work/logs/tracking.log")
LOG = logging.getLogger(__name__)


def open_tracker(record: Record) -> Tracker:
    """Return where the stage of `record` streams curves and pictures to."""
    root = find_root(Path.cwd())
    home = find_home(root)
    if enabled():
        mark(home, record["driver"], runs_on=True)
        _close_with(home, record["driver"])  # it also tells of one that is killed from now on
    return sink.open_tracker(home, record, pictures=may_show_pictures(root))


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
            _close_with(home, driver())
        elif any(posted(home, root)):
            folder = home if is_passing(root) else root
            _start(home, folder, closing.SENDER, str(home), str(root), driver())
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


def _close_with(home: Path, driver_name: str) -> None:
    """End the pipeline's run when its driver ends, unless it has ended."""
    if is_open(home, driver_name):
        with suppress(OSError):  # no process to be had: whoever sends next ends the run
            _start(home, home, closing.__name__, str(home), driver_name)


def _start(home: Path, folder: Path, module: str, *arguments: str) -> None:
    """Start a module in a process that outlives this one, and logs to HOME."""
    with _log_path(home).open("a") as file:
        subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def _environment(folder: Path) -> dict[str, str]:
    """The code in `folder` first, where it has any: that of another place may be gone soon.

    Without the mark of `bucolic up`, with which it would end.
    """
    places = [str(folder / "src"), os.environ.get("PYTHONPATH", "")]
    inherited = {name: value for name, value in os.environ.items() if name != MARK}
    return {**inherited, "PYTHONPATH": os.pathsep.join(filter(None, places))}


def _log_path(home: Path) -> Path:
    """HOME's log, or nowhere where HOME cannot be written."""
    path = home / LOG_FILE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        return Path(os.devnull)
    return path


def _send_in_background(home: Path, root: Path, driver_name: str) -> None:
    """What the process does that `send` starts; `driver_name` is empty where that one is gone."""
    hear_again()  # a stage that ends ignores signals, and what it starts inherits that
    os.nice(10)
    _flush_and_warn(home, root)
    if driver_name:
        _close_with(home, driver_name)


if __name__ == "__main__":
    _send_in_background(Path(sys.argv[1]), Path(sys.argv[2]), "".join(sys.argv[3:]))

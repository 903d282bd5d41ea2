"""Curves and pictures streamed to MLflow while a stage runs.

The series of each picture is in the run's artifacts under images/, the last one under samples/.
A thread of its own does the sending, so the stage never waits for MLflow, and a failure there is
one line in the log. What was not streamed is sent from the curves file later (outbox.py).
"""

import io
import logging
import queue
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bucolic.base.files import this_process
from bucolic.base.report import NoTracker, Tracker
from bucolic.tracking.described import Record, fit_name
from bucolic.tracking.mlflow_store import Store, enabled, exclusive, open_store

if TYPE_CHECKING:
    from PIL.Image import Image

BATCH = 500  # MLflow takes 1000 metrics at once
CLOSE_S = 60.0
LOG = logging.getLogger(__name__)
Point = tuple[int, int, Mapping[str, float]]  # images seen, time in ms, scalars
_Picture = tuple[str, bytes]  # name, content of the file
_Item = tuple[int, int, dict[str, float] | _Picture]  # images seen, time in ms, content
_open: list["MlflowSink"] = []


def open_tracker(home: Path, record: Record, *, pictures: bool = True) -> Tracker:
    """Return a sink that streams into the run of `record`, or one that keeps nothing.

    Args:
        home: holder of mlflow.db.
        record: the beginnings of a record: record_id, stage, pipeline_id, started, keywords, git.
        pictures: whether those of the data set may be shown; without, the sink takes none.
    """
    if not enabled():
        return NoTracker()
    if not pictures:
        LOG.info("MLflow gets no pictures of photographs (tracking.photographs in params.yaml)")
    sink = MlflowSink(home, record, pictures=pictures)
    _open.append(sink)
    return sink


def close_sinks() -> None:
    """Send what open sinks still hold; called before their records are sent."""
    while _open:
        _open.pop().close()


class MlflowSink:
    """A `Tracker` over MLflow; see the module's docstring.

    Attributes:
        broken: MLflow failed, and nothing more is sent.
    """

    def __init__(self, home: Path, record: Record, *, pictures: bool = True) -> None:
        self.broken = False
        self._pictures = pictures
        self._home = home
        self._record = record
        self._items: queue.Queue[_Item | None] = queue.Queue()
        self._thread = threading.Thread(target=self._work, name="mlflow-sink", daemon=True)
        self._thread.start()

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Queue scalar values."""
        self._put((images_seen, _now_ms(), dict(values)))

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Queue a picture; its bytes are read now, as the file may be overwritten."""
        if self._pictures and not self.broken:
            self._put((images_seen, _now_ms(), (name, path.read_bytes())))

    def close(self, limit_s: float = CLOSE_S) -> None:
        """Send what is queued, waiting up to `limit_s` seconds."""
        self._items.put(None)
        self._thread.join(limit_s)
        self.broken = self.broken or self._thread.is_alive()

    def _put(self, item: _Item) -> None:
        if not self.broken:
            self._items.put(item)

    def _work(self) -> None:
        try:
            with exclusive(self._home):
                store = open_store(self._home)
                run_id = store.run_of(self._record)
            store.client.set_tag(run_id, "process", this_process())
            latest: dict[str, bytes] = {}
            while batch := self._next():
                _send(store, run_id, batch)
                latest.update(content for _, _, content in batch if isinstance(content, tuple))
            for name, picture in latest.items():
                store.client.log_image(run_id, _opened(picture), f"samples/{name}.png")
        except Exception as error:  # noqa: BLE001 - tracking never breaks a run
            self.broken = True
            LOG.warning("MLflow: curves are not streamed (%s); the record follows", one_line(error))

    def _next(self) -> list[_Item]:
        """The next items, waiting for the first; [] at the end."""
        batch = []
        item = self._items.get()
        while item is not None:
            batch.append(item)
            if len(batch) == BATCH or self._items.empty():
                return batch
            item = self._items.get()
        self._items.put(None)  # seen again by the next call, which then returns []
        return batch


def send_values(store: Store, run_id: str, points: list[Point]) -> None:
    """Log scalars; a point that is sent again is kept once where its time is the same."""
    from mlflow.entities import Metric  # noqa: PLC0415 - see open_store

    metrics = [
        Metric(fit_name(name), float(value), time_ms, step)
        for step, time_ms, values in points
        for name, value in values.items()
    ]
    for start in range(0, len(metrics), BATCH):
        store.client.log_batch(run_id, metrics=metrics[start : start + BATCH])


def _send(store: Store, run_id: str, batch: list[_Item]) -> None:
    points: list[Point] = []
    for step, time_ms, content in batch:
        if isinstance(content, dict):
            points.append((step, time_ms, content))
        else:
            _send_picture(store, run_id, step, time_ms, content)
    send_values(store, run_id, points)


def _send_picture(store: Store, run_id: str, step: int, time_ms: int, picture: _Picture) -> None:
    """Log a picture by its step: MLflow's charts show the series with a slider."""
    name, content = picture
    image = _opened(content)
    store.client.log_image(run_id, image, key=name, step=step, timestamp=time_ms, synchronous=True)


def _opened(content: bytes) -> "Image":
    import PIL.Image  # noqa: PLC0415 - only a stage that draws needs it

    with PIL.Image.open(io.BytesIO(content)) as image:
        return image.convert("RGB")


def _now_ms() -> int:
    return int(time.time() * 1000)


def one_line(error: Exception) -> str:
    """An exception in one line of at most 300 characters."""
    return " ".join(str(error).split())[:300] or type(error).__name__

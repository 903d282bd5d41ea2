"""Records sent to MLflow out of the outbox (pipeline/post.py), where each waits until it is there.

A run is found by its record_id, so sending twice makes nothing twice. Where MLflow is away the
records wait. What was sent leaves its run's address in HOME/.work/tracked/RECORD_ID.json, by which
others point at the run without asking MLflow.
"""

import json
import logging
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucolic.base.files import is_gone, remove, write_json
from bucolic.models.config import CURVES_FILE, point_name
from bucolic.pipeline.post import TRACKED, in_workspace, posted, unposted
from bucolic.pipeline.record import foreign, is_later
from bucolic.pipeline.table import MODEL
from bucolic.tracking import described, parent, registry
from bucolic.tracking.closing import LONGEST_RUN_S, left_open, mark
from bucolic.tracking.described import Record
from bucolic.tracking.mlflow_store import PARENT, Store, enabled, exclusive, open_store
from bucolic.tracking.outputs import find_output
from bucolic.tracking.sink import Point, close_sinks, one_line, send_values
from bucolic.tracking.stage_list import stage_list

STEP = "images_seen"
PER_BATCH = 100  # params and tags MLflow takes at once
OFF = "BUCOLIC_TRACKING switches tracking off"
LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """What became of the records that waited.

    Attributes:
        sent: how many MLflow has now.
        waiting: how many wait on.
        reason: why the first of them does, in one line; "" where none does.
    """

    sent: int = 0
    waiting: int = 0
    reason: str = ""

    @property
    def left(self) -> str:
        """`N records wait`, in words; with a reason and none, they could not be looked for."""
        if self.reason and not self.waiting:
            return "records may wait"
        return f"{self.waiting} record{' waits' if self.waiting == 1 else 's wait'}"


@dataclass(frozen=True)
class _Letter:
    """A record that waits, and its file, which is removed once it has arrived if it is a copy.

    `unread` says why the file cannot be read; its record is empty then.
    """

    path: Path
    record: Record
    is_copy: bool
    unread: str = ""

    @property
    def turn(self) -> tuple[int, Path]:
        """By which letters are sorted: the earliest first."""
        return (0 if self.unread else described.started_ms(self.record)), self.path


def flush(home: Path, root: Path | None = None, *, search: bool = False) -> Delivery:
    """Send every waiting record.

    Nothing is ever raised: a record that cannot be sent stays where it is.

    Args:
        home: holder of the outbox, mlflow.db and mlartifacts.
        root: a workspace, which has an outbox of its own where HOME's could not be written.
        search: send also records of the workspace that are in no outbox and that MLflow has not,
            whatever notes of former deliveries say.
    """
    root = root or home
    letters: list[_Letter] = []
    try:
        letters = _letters(home, root, search=search)
        if not enabled():
            return Delivery(0, len(letters), OFF if letters else "")
        if not letters and not left_open(home) and not (search and any(in_workspace(root))):
            return Delivery()
        return _send_all(home, root, search=search)
    except Exception as error:  # noqa: BLE001 - tracking never breaks a run
        return Delivery(0, len(letters), one_line(error))


def _send_all(home: Path, root: Path, *, search: bool) -> Delivery:
    close_sinks()
    with exclusive(home):
        letters = _letters(home, root, search=search)  # others may have sent some meanwhile
        left = left_open(home)
        if not letters and not left and not search:
            return Delivery()
        store = open_store(home)
        if search:
            letters = _in_order([*letters, *_lost(store, root, letters)])
        _end_killed(store)  # first: what is sent now may say that the stage was tried again
        problems = [problem for letter in letters if (problem := _deliver(store, home, letter))]
        parent.close_left(store)
        for note in left:
            mark(home, note.name, runs_on=False)
    return Delivery(len(letters) - len(problems), len(problems), next(iter(problems), ""))


def _deliver(store: Store, home: Path, letter: _Letter) -> str:
    """Send one record; where MLflow refuses it, it does not hold up the others.

    Returns:
        Why it waits on, "" where it arrived.
    """
    problem = letter.unread or _problem(store, home, letter.record)
    if problem:
        LOG.warning("MLflow: %s; it waits in %s", problem, letter.path)
    elif letter.is_copy:
        with suppress(OSError):  # sent again where HOME cannot be written, which changes nothing
            remove(letter.path)
    return problem


def _problem(store: Store, home: Path, record: Record) -> str:
    try:
        _send(store, home, record)
        _note(store, home, record)
    except Exception as error:  # noqa: BLE001 - tracking never breaks a run
        return f"{record['stage']}: {one_line(error)}"
    return ""


def _letters(home: Path, root: Path, *, search: bool) -> list[_Letter]:
    """Waiting records, the earliest first; a file that is no record is put aside."""
    copies = [letter for path in posted(home, root) if (letter := _open(path, {}, is_copy=True))]
    others = unposted(home, root) if search else ()
    place = {"root": str(root)}
    found = [letter for path in others if (letter := _open(path, place, is_copy=False))]
    return _in_order([*copies, *found])


def _in_order(letters: Sequence[_Letter]) -> list[_Letter]:
    return sorted(letters, key=lambda letter: letter.turn)


def _lost(store: Store, root: Path, letters: Sequence[_Letter]) -> list[_Letter]:
    """Records of the workspace that were sent once and that MLflow has not now."""
    waiting = {letter.record.get("record_id") for letter in letters}
    place = {"root": str(root)}
    found = [_open(path, place, is_copy=False) for path in in_workspace(root)]
    return [
        letter
        for letter in found
        if letter and not letter.unread
        if letter.record["record_id"] not in waiting
        if not store.holds(letter.record)
    ]


def _open(path: Path, place: Record, *, is_copy: bool) -> _Letter | None:
    why = ""
    try:
        record = {**json.loads(path.read_text()), **place}
        if not (why := foreign(record)):
            described.started_ms(record)
            described.identity(record)
            return _Letter(path, record, is_copy)
        if is_later(record):  # of another checkout that shares HOME, and sends it
            return None
    except FileNotFoundError:
        return None
    except OSError as error:
        return _Letter(path, {}, is_copy, f"{path.name} cannot be read ({error.strerror})")
    except (ValueError, KeyError, TypeError, RecursionError):
        why = "is no record"
    if is_copy:
        _put_aside(path, why)
    return None


def _put_aside(path: Path, why: str) -> None:
    """Keep a letter that cannot be sent from being tried again."""
    with suppress(OSError):
        path.replace(path.with_suffix(".broken"))
    LOG.warning("MLflow: %s %s; it is now %s.broken", path, why, path.stem)


def _send(store: Store, home: Path, record: Record) -> None:
    run_id = store.run_of(record)
    client = store.client
    _log_in_batches(client, run_id, "params", described.params(record))
    _log_in_batches(client, run_id, "tags", described.tags(record))
    ended_ms = described.ended_ms(record)
    send_values(store, run_id, [(0, ended_ms, described.metrics(record))])
    _log_inputs(client, run_id, record)
    client.log_dict(run_id, dict(record), "record.json")
    with tempfile.TemporaryDirectory() as scratch:
        _send_outputs(store, home, record, run_id, Path(scratch))
    if registry.judges(record):
        registry.judge(store, record)
    status = "FINISHED" if record["status"] == "ok" else "FAILED"
    client.set_terminated(run_id, status, ended_ms)
    _update_parent(store, home, record)


def _send_outputs(store: Store, home: Path, record: Record, run_id: str, scratch: Path) -> None:
    """Upload figures and reports; register weights."""
    root = _root(home, record)
    for path, digest in (record.get("outputs") or {}).items():
        wanted = path.startswith("reports/") or path == MODEL
        found = find_output(root, home, path, digest, scratch) if wanted and digest else None
        if found is None:
            if path == MODEL and digest:
                LOG.warning("MLflow: %s of %s is gone: a run without its model", path, run_id)
            continue
        if path == MODEL:
            _send_curves(store, run_id, found / CURVES_FILE, described.ended_ms(record))
            registry.register(store, record, run_id, found)
        elif found.is_dir():
            store.client.log_artifacts(run_id, str(found), Path(path).name)
        else:
            store.client.log_artifact(run_id, str(found))


def _send_curves(store: Store, run_id: str, curves: Path, time_ms: int) -> None:
    """Send those points of the curves file that were not streamed while training.

    A training that was killed and went on has points of other executions, whose runs ended there.
    """
    if not curves.is_file():
        return
    points = [_point(json.loads(line), time_ms) for line in curves.read_text().splitlines()]
    there = _steps_there(store, run_id, {name for *_, values in points for name in values})
    send_values(
        store,
        run_id,
        [
            (step, at_ms, {k: v for k, v in values.items() if step not in there.get(k, ())})
            for step, at_ms, values in points
        ],
    )


def _point(row: Mapping[str, Any], time_ms: int) -> Point:
    """A line of the curves file under the names that the training streams it by."""
    values = {k: v for k, v in row.items() if k != STEP and described.is_number(v)}
    named = {described.fit_name(point_name(row["phase"], k)): v for k, v in values.items()}
    return int(row[STEP]), time_ms, named


def _steps_there(store: Store, run_id: str, names: set[str]) -> dict[str, set[int]]:
    """By curve, the steps of which MLflow has a point."""
    known = names & set(store.client.get_run(run_id).data.metrics)
    histories = {name: store.client.get_metric_history(run_id, name) for name in known}
    return {name: {point.step for point in history} for name, history in histories.items()}


def _log_in_batches(client: Any, run_id: str, kind: str, content: Mapping[str, str]) -> None:
    from mlflow.entities import Param, RunTag  # noqa: PLC0415 - see open_store

    entity = Param if kind == "params" else RunTag
    items = [entity(key, value) for key, value in content.items()]
    for start in range(0, len(items), PER_BATCH):
        client.log_batch(run_id, **{kind: items[start : start + PER_BATCH]})


def _log_inputs(client: Any, run_id: str, record: Record) -> None:
    """Name the data sets the stage read, by DVC's digests."""
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

    tag = InputTag("mlflow.data.context", record["stage"])
    inputs = [
        DatasetInput(Dataset(path, digest, "dvc", json.dumps({"path": path, "md5": digest})), [tag])
        for path, digest in described.datasets(record).items()
    ]
    if inputs:
        client.log_inputs(run_id, inputs)


def _update_parent(store: Store, home: Path, record: Record) -> None:
    """Give the pipeline's run its state, and evaluate's metrics, which rank it in a table."""
    run_id = store.parent_of(record)
    if registry.judges(record):
        figures = {"figures": {"metrics": (record.get("figures") or {}).get("metrics") or {}}}
        values = described.metrics(figures)
        send_values(store, run_id, [(0, described.ended_ms(record), values)])
    runs_on = parent.update(store, run_id, record, _root(home, record))
    if driver := record.get("driver"):
        mark(home, driver, runs_on=runs_on)


def _note(store: Store, home: Path, record: Record) -> None:
    """Remember the run's address, and list on the pipeline's page what became of each stage."""
    run_id = store.run_of(record)
    address = {"run_id": run_id, "experiment_id": store.experiment_id, "url": store.address(run_id)}
    with suppress(OSError):  # HOME cannot be written: the record has arrived all the same
        write_json(home / TRACKED / f"{record['record_id']}.json", address)
    if stages := stage_list(home, _root(home, record), record):
        store.client.set_tag(store.parent_of(record), "mlflow.note.content", stages)


def _root(home: Path, record: Record) -> Path:
    """The workspace the stage ran in."""
    return Path(record.get("root") or home)


def _end_killed(store: Store) -> None:
    """Mark runs whose process was killed and so left no record."""
    for run in store.running("stage"):
        process, started_s = run.data.tags.get("process"), run.info.start_time / 1000
        if process and is_gone(process, started_s, LONGEST_RUN_S):
            store.client.set_terminated(run.info.run_id, "KILLED")
            parent.fail(store, run.data.tags[PARENT], run.data.tags["pipeline_id"])

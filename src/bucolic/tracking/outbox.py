"""Records on their way to MLflow: HOME/.work/outbox/RECORD_ID.json until MLflow has them.

A run is found by its record_id, so sending twice makes nothing twice. Where MLflow is away the
records wait, and one line in the log says so. What was sent leaves its run's address in
HOME/.work/tracked/RECORD_ID.json, by which others point at the run without asking MLflow.
"""

import json
import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bucolic.files import is_alive, remove, write_json
from bucolic.tracking import described, registry
from bucolic.tracking.described import Record
from bucolic.tracking.outputs import find_output
from bucolic.tracking.sink import STREAMED, Point, close_sinks, one_line, send_values, this_process
from bucolic.tracking.stage_list import stage_list
from bucolic.tracking.store import Store, enabled, exclusive, open_store

CURVES = "curves.jsonl"
STEP = "images_seen"
PER_BATCH = 100  # params and tags MLflow takes at once
LOG = logging.getLogger(__name__)


def flush(home: Path) -> int:
    """Send every waiting record; return how many arrived.

    Nothing is ever raised: a record that cannot be sent stays where it is.

    Args:
        home: holder of the outbox, mlflow.db and mlartifacts.
    """
    folder = home / ".work" / "outbox"
    if not enabled() or not any(folder.glob("*.json")):
        return 0
    close_sinks()
    sent = 0
    try:
        with exclusive(home):
            records = _waiting(folder)
            if not records:
                return 0
            store = open_store(home)
            sent = sum(_deliver(store, home, path, record) for path, record in records)
            _end_killed(store)
    except Exception as error:  # noqa: BLE001 - tracking never breaks a run
        left = len(list(folder.glob("*.json")))
        LOG.warning(
            "MLflow: %s; %d records wait, `bucolic track` sends them", one_line(error), left
        )
    return sent


def _deliver(store: Store, home: Path, path: Path, record: Record) -> bool:
    """Send one record; one that MLflow refuses waits on and does not hold up the others."""
    try:
        _send(store, home, record)
        _note(store, home, record)
    except Exception as error:  # noqa: BLE001 - tracking never breaks a run
        LOG.warning("MLflow: %s: %s; it waits in %s", record["stage"], one_line(error), path)
        return False
    remove(path)
    return True


def _waiting(folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Waiting records, the earliest first; a file that is no record is put aside."""
    found = []
    for path in folder.glob("*.json"):
        try:
            record = json.loads(path.read_text())
            found.append((described.started_ms(record), path, record))
        except FileNotFoundError:
            continue
        except (ValueError, KeyError, TypeError):
            path.replace(path.with_suffix(".broken"))
            LOG.warning("MLflow: %s is no record; it is now %s.broken", path, path.stem)
    return [(path, record) for _, path, record in sorted(found, key=lambda item: item[:2])]


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
    if record["stage"] == "evaluate" and record["status"] == "ok":
        registry.judge(store, record)
    status = "FINISHED" if record["status"] == "ok" else "FAILED"
    client.set_terminated(run_id, status, ended_ms)
    _update_parent(store, record, status)


def _send_outputs(store: Store, home: Path, record: Record, run_id: str, scratch: Path) -> None:
    """Upload figures and reports; register weights."""
    root = _root(home, record)
    for path, digest in (record.get("outputs") or {}).items():
        wanted = path.startswith("reports/") or path == registry.WEIGHTS
        found = find_output(root, home, path, digest, scratch) if wanted and digest else None
        if found is None:
            continue
        if path == registry.WEIGHTS:
            _send_curves(store, run_id, found / CURVES, described.ended_ms(record))
            registry.register(store, record, run_id, found)
        elif found.is_dir():
            store.client.log_artifacts(run_id, str(found), Path(path).name)
        else:
            store.client.log_artifact(run_id, str(found))


def _send_curves(store: Store, run_id: str, curves: Path, time_ms: int) -> None:
    """Send the curves file unless all of it was streamed while training."""
    if store.client.get_run(run_id).data.tags.get(STREAMED) or not curves.is_file():
        return
    points: list[Point] = []
    for line in curves.read_text().splitlines():
        values = {k: v for k, v in json.loads(line).items() if described.is_number(v)}
        points.append((int(values.pop(STEP, 0)), time_ms, values))
    send_values(store, run_id, points)


def _log_in_batches(client: Any, run_id: str, kind: str, content: Mapping[str, str]) -> None:
    from mlflow.entities import Param, RunTag  # noqa: PLC0415 - see store.open_store

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


def _update_parent(store: Store, record: Record, status: str) -> None:
    """Give the pipeline's run its end, and evaluate's metrics, which rank pipelines in a table."""
    parent = store.parent_of(record)
    if record["stage"] == "evaluate":
        figures = {"figures": {"metrics": (record.get("figures") or {}).get("metrics") or {}}}
        values = described.metrics(figures)
        send_values(store, parent, [(0, described.ended_ms(record), values)])
    store.client.set_terminated(parent, status, described.ended_ms(record))


def _note(store: Store, home: Path, record: Record) -> None:
    """Remember the run's address, and list on the pipeline's page what became of each stage."""
    run_id = store.run_of(record)
    address = {"run_id": run_id, "experiment_id": store.experiment_id, "url": store.address(run_id)}
    write_json(home / ".work" / "tracked" / f"{record['record_id']}.json", address)
    if stages := stage_list(home, _root(home, record), record):
        store.client.set_tag(store.parent_of(record), "mlflow.note.content", stages)


def _root(home: Path, record: Record) -> Path:
    """The workspace the stage ran in."""
    return Path(record.get("root") or home)


def _end_killed(store: Store) -> None:
    """Mark runs whose process was killed and so left no record."""
    host = this_process().split(":")[0]
    running = store.client.search_runs(
        [store.experiment_id], "attributes.status = 'RUNNING' and tags.kind = 'stage'"
    )
    for run in running:
        where, _, pid = run.data.tags.get("process", "").partition(":")
        if where == host and not is_alive(int(pid)):
            store.client.set_terminated(run.info.run_id, "KILLED")

"""The state of a pipeline's run: RUNNING until it ended, FAILED where a stage failed.

It has ended when its last stage has reported, or when what drives it is gone: a part may be all
that was asked for. It follows from what the stages reported, not from the clock (but that a driver
on another host, which cannot be asked, counts as gone after two weeks): a stage that is tried again
counts by its latest attempt, and of one that was killed before it could tell anybody nothing is
known here.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from bucolic.base.errors import DataError
from bucolic.base.files import is_gone
from bucolic.pipeline.graph import Stage, read_graph
from bucolic.pipeline.lineage import current
from bucolic.pipeline.post import RECORDS
from bucolic.pipeline.record import read_record
from bucolic.pipeline.table import LAST
from bucolic.tracking import described
from bucolic.tracking.closing import LONGEST_RUN_S
from bucolic.tracking.described import Record
from bucolic.tracking.mlflow_store import DRIVER, Store

if TYPE_CHECKING:
    from mlflow.entities import Run


def update(store: Store, run_id: str, record: Record, root: Path) -> bool:
    """Settle the pipeline's run `run_id` after one of its stages has reported `record`.

    Args:
        store: MLflow's.
        run_id: of the pipeline.
        record: the latest that was sent.
        root: the workspace it was made in.

    Returns:
        Whether it is still RUNNING.
    """
    status = _status(_latest(store, record["pipeline_id"]), root, record)
    if status == "RUNNING":
        store.client.update_run(run_id, status)
    else:
        store.client.set_terminated(run_id, status, described.ended_ms(record))
    return status == "RUNNING"


def fail(store: Store, run_id: str, pipeline_id: str) -> None:
    """End the pipeline's run after a stage was killed, unless that stage was tried again."""
    if _has_failed(_latest(store, pipeline_id)):
        store.client.set_terminated(run_id, "FAILED")


def close_left(store: Store) -> None:
    """End the runs of pipelines that nobody drives any more."""
    for run in store.running("pipeline"):
        latest = _latest(store, run.data.tags["pipeline_id"])
        ends = [stage.info.end_time or stage.info.start_time for stage in latest.values()]
        ended_ms, driver = max(ends, default=run.info.start_time), run.data.tags.get(DRIVER)
        is_left = driver and is_gone(driver, ended_ms / 1000, LONGEST_RUN_S)
        if is_left and not _is_any_running(latest):
            store.client.set_terminated(run.info.run_id, "FINISHED", ended_ms)


def _status(latest: dict[str, "Run"], root: Path, record: Record) -> str:
    if _has_failed(latest):
        return "FAILED"
    graph = _graph(root)
    last = graph[-1].name if graph else LAST.name  # where the workspace is gone
    is_done = _is_over(latest, last) or _is_cached(graph, root, record) or _is_left(latest, record)
    return "FINISHED" if is_done else "RUNNING"


def _latest(store: Store, pipeline_id: str) -> dict[str, "Run"]:
    """The latest attempt of each stage of a pipeline."""
    runs = store.find(pipeline_id=pipeline_id, kind="stage")
    ordered = sorted(runs, key=lambda run: (run.info.start_time, run.info.end_time or math.inf))
    return {run.data.tags["stage"]: run for run in ordered}


def _has_failed(latest: dict[str, "Run"]) -> bool:
    return any(run.info.status in {"FAILED", "KILLED"} for run in latest.values())


def _is_left(latest: dict[str, "Run"], record: Record) -> bool:
    """Whether nobody drives the pipeline any more."""
    driver, ended_s = record.get("driver"), described.ended_ms(record) / 1000
    is_driven = not driver or not is_gone(driver, ended_s, LONGEST_RUN_S)
    return not is_driven and not _is_any_running(latest)


def _is_any_running(latest: dict[str, "Run"]) -> bool:
    return any(run.info.status == "RUNNING" for run in latest.values())


def _is_over(latest: dict[str, "Run"], last: str) -> bool:
    """Whether the last stage has ended, after all others."""
    if last not in latest or _is_any_running(latest):
        return False
    starts = [run.info.start_time for run in latest.values()]
    return bool(latest[last].info.start_time == max(starts))


def _is_cached(graph: tuple[Stage, ...], root: Path, record: Record) -> bool:
    """Whether the stages behind have nothing left to do: their inputs are what they were."""
    upstream = {stage.name: stage.upstream for stage in graph}
    records = {name: read_record(root / RECORDS / f"{name}.json") for name in upstream}
    known = {name: found for name, found in records.items() if found}
    own = known.get(record["stage"], {}).get("record_id") == record["record_id"]
    return own and len(current(upstream, known)) == len(upstream)


def _graph(root: Path) -> tuple[Stage, ...]:
    try:
        return read_graph(root)
    except DataError:
        return ()

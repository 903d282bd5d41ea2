"""What the page of a pipeline's run says of its stages: ran, failed, cached, or not reached."""

from pathlib import Path

from bucolic.base.errors import DataError
from bucolic.pipeline.graph import read_graph
from bucolic.pipeline.lineage import current
from bucolic.pipeline.post import FAILURES, RECORDS
from bucolic.pipeline.record import read_record
from bucolic.pipeline.summary import NOT_RUN, tracked_run
from bucolic.tracking import described
from bucolic.tracking.described import Record


def stage_list(home: Path, root: Path, record: Record) -> str | None:
    """Return the list of all stages, as seen by the pipeline of `record`, in markdown.

    Args:
        home: holder of the addresses of tracked runs.
        root: the workspace the record was made in.
        record: of the pipeline that the page is about.

    Returns:
        None where the workspace is gone, or holds a later run of another pipeline.
    """
    try:
        graph = read_graph(root)
    except DataError:
        return None
    upstream = {stage.name: stage.upstream for stage in graph}
    records = _read(root / RECORDS, upstream)
    failures = _read(root / FAILURES, upstream)
    if any(_is_later(other, record) for other in (*records.values(), *failures.values())):
        return None
    cached = {name: records[name] for name in current(upstream, records)}
    # DVC removes a record before it runs the stage: where one is, DVC has put it back since.
    failed = {name: failure for name, failure in failures.items() if name not in cached}
    own = {name: r for name, r in {**records, **failed}.items() if _is_same(r, record)}
    known = {**cached, **own}
    lines = [_line(home, name, known.get(name), is_own=name in own) for name in upstream]
    return "\n".join(["Stages:", "", *lines])


def _read(folder: Path, stages: dict[str, tuple[str, ...]]) -> dict[str, Record]:
    found = {stage: read_record(folder / f"{stage}.json") for stage in stages}
    return {stage: record for stage, record in found.items() if record}


def _is_same(one: Record, other: Record) -> bool:
    return bool(one.get("pipeline_id") == other["pipeline_id"])


def _is_later(one: Record, other: Record) -> bool:
    """Whether `one` is of another pipeline and a later time: the workspace has moved on."""
    return not _is_same(one, other) and str(one.get("started")) > str(other["started"])


def _line(home: Path, stage: str, record: Record | None, *, is_own: bool) -> str:
    if record is None:
        return f"- {stage}: {NOT_RUN}"
    own_status = "failed" if record["status"] == "failed" else "ran"
    status = own_status if is_own else "cached, made by"
    name, url = described.run_name(record), tracked_run(home, record)
    link = f"[{name}]({url})" if url else f"{name} (record {record['record_id']})"
    return f"- {stage}: {status} {link}"

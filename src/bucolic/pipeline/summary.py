"""What a run of the pipeline looks like to a person: a table of stages and a page of results."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bucolic.evaluation import table
from bucolic.pipeline.stage_run import Outcome
from bucolic.pipeline.workspace import Workspace

NOT_RUN = "not reached"


def tracked_run(home: Path, record: Mapping[str, Any]) -> str:
    """Return the address of the MLflow run that holds `record`, or "" if it is not known here."""
    path = home / ".work" / "tracked" / f"{record.get('record_id', '')}.json"
    try:
        return str(json.loads(path.read_text())["url"])
    except (OSError, ValueError, KeyError):
        return ""


def stage_table(
    stages: Sequence[str], outcomes: Mapping[str, Outcome], home: Path
) -> list[dict[str, Any]]:
    """Return one row per stage of the graph, stages that were never reached included."""
    return [_row(stage, outcomes.get(stage), home) for stage in stages]


def _row(stage: str, outcome: Outcome | None, home: Path) -> dict[str, Any]:
    if outcome is None:
        return {"stage": stage, "status": NOT_RUN}
    rows = outcome.record.get("rows") or {}
    record_id = str(outcome.record.get("record_id", ""))
    return {
        "stage": stage,
        "status": outcome.status,
        "seconds": round(outcome.duration_s, 1),
        "rows in": rows.get("in", ""),
        "rows out": rows.get("out", ""),
        "rows failed": rows.get("failed", ""),
        "started (UTC)": str(outcome.record.get("started", ""))[:19].replace("T", " "),
        "MLflow run": tracked_run(home, outcome.record) or record_id,
    }


def status_line(stages: Sequence[str], outcomes: Mapping[str, Outcome]) -> str:
    """Return one line: how many stages ran, were cached, failed, were never reached."""
    statuses = [outcomes[stage].status if stage in outcomes else NOT_RUN for stage in stages]
    counts = {status: statuses.count(status) for status in ("ran", "cached", "failed", NOT_RUN)}
    return ", ".join(f"{count} {status}" for status, count in counts.items() if count)


def result_page(
    workspace: Workspace, outcomes: Mapping[str, Outcome], home: Path, report: Path
) -> str:
    """Return markdown: the keywords, the metrics, where everything is, how to keep the result."""
    records = [outcome.record for outcome in outcomes.values() if outcome.record]
    themes: list[list[str]] = [r["keywords"] for r in records if r.get("keywords")]
    title = ", ".join(themes[-1]) if themes else "bucolic"
    parts = [f"# {title}", *_metrics(records), "## Where it is"]
    parts.append("\n".join(_places(workspace, outcomes, home, report)))
    return "\n\n".join(parts) + "\n"


def _metrics(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of the last stage that measured: every number of its `metrics`, bounds beside it."""
    measured: list[Mapping[str, Any]] = [r["figures"] for r in records if _measured(r)]
    figures = measured[-1] if measured else {}
    metrics = {k: v for k, v in figures.get("metrics", {}).items() if _number(v)}
    if not metrics:
        return []
    bounds = figures.get("bounds", {})
    labels = {one.name: one.label for one in (*table.METRICS, *table.ARMS)}
    head = ["metric", "model", *(labels.get(name, name) for name in bounds)]
    lines = [head, ["---"] * len(head)]
    for name, value in metrics.items():
        others = [_shown(bound.get(name)) for bound in bounds.values()]
        lines.append([labels.get(name, name), f"**{_shown(value)}**", *others])
    return ["## Metrics", "\n".join("| " + " | ".join(line) + " |" for line in lines)]


def _measured(record: Mapping[str, Any]) -> bool:
    return bool((record.get("figures") or {}).get("metrics"))


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if _number(value) else "–"


def _places(
    workspace: Workspace, outcomes: Mapping[str, Outcome], home: Path, report: Path
) -> list[str]:
    lines = [f"- report: `{report}`"] if report.is_file() else []
    for stage, outcome in outcomes.items():
        if url := tracked_run(home, outcome.record):
            lines.append(f"- [MLflow run of {stage}]({url}) ({outcome.status})")
    if workspace.name:
        apply = f"`dvc exp apply {workspace.name}`"
        lines.append(f"- experiment `{workspace.name}`: {apply} brings its files here")
    return lines

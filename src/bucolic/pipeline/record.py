"""What a record says of one execution of a stage; execute.py puts its parts together.

Schema 2: schema, record_id, stage, status, error {kind, message, where, retryable}, started,
duration_s (of this execution), resumed_s (of those before it that it went on from), keywords,
params, inputs, code and outputs with DVC's own digests, rows {in, out, failed}, new, reused,
device, precision, engine, threads (torch's, which a CPU's bytes depend on; null without torch),
figures, details (what people read beside them), git {commit, dirty}, pipeline_id, driver (the
process whose end ends the pipeline), versions (of the libraries that decide what the stage writes),
environment. One of a stage that failed early lacks what was not known yet. One of another schema is
not read; the report says so.
"""

import json
import os
import traceback
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bucolic.base.errors import BucolicError
from bucolic.base.files import fingerprint
from bucolic.base.places import PARAMS_FILE
from bucolic.base.report import Summary
from bucolic.base.runtime import torch_threads
from bucolic.base.signals import Ended
from bucolic.pipeline import git
from bucolic.pipeline.digests import digest
from bucolic.pipeline.driver import driver

SCHEMA = 2
PASSED_ON = ("DVC_EXP_NAME", "PREFECT_FLOW_RUN_ID", "PREFECT__FLOW_RUN_ID")


def beginning(stage: str, root: Path) -> dict[str, Any]:
    """What is known before anything was read."""
    return {
        "schema": SCHEMA,
        "record_id": uuid.uuid4().hex,
        "stage": stage,
        "status": "running",
        "error": None,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "git": git.state(root),
        "pipeline_id": pipeline_id(root),
        "driver": driver(),
        "environment": {name: os.environ[name] for name in PASSED_ON if name in os.environ},
    }


def results(summary: Summary) -> dict[str, Any]:
    """What a stage says of itself at its end."""
    rows = summary.rows
    return {
        "rows": {"in": rows.into, "out": rows.out, "failed": rows.failed},
        "new": summary.new,
        "reused": summary.reused,
        "device": summary.device,
        "precision": summary.precision,
        "engine": summary.engine,
        "resumed_s": round(summary.resumed_s, 2),
        "threads": torch_threads(),
        "figures": dict(summary.figures),
        "details": dict(summary.details),
    }


def spent_s(record: Mapping[str, Any]) -> float:
    """Seconds of a stage that has ended, over all executions that its result took."""
    return round(float(record["duration_s"]) + float(record.get("resumed_s", 0)), 2)


def failure(error: BaseException) -> dict[str, Any]:
    """Status and error of a stage that did not come to its end."""
    known = error if isinstance(error, BucolicError | Ended) else None
    frames = traceback.extract_tb(error.__traceback__)
    # A signal's own frame, the last one, is that of its handler.
    where = frames[-2] if isinstance(error, Ended) and len(frames) > 1 else frames[-1]
    problem = {
        "kind": known.kind if known else type(error).__name__,
        "message": str(error) or type(error).__name__,
        "where": f"{Path(where.filename).name}:{where.lineno}",
        "retryable": known.retryable if known else False,
    }
    return {"status": "failed", "error": problem}


def pipeline_id(root: Path) -> str:
    """What all stages of one run of the pipeline share: the params and the commit."""
    return fingerprint([digest(root / PARAMS_FILE), git.known_commit(root)])


def read_record(path: Path) -> dict[str, Any]:
    """Return a record; {} where there is none, or none that this bucolic can read."""
    try:
        record = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and not foreign(record) else {}


def foreign(record: Mapping[str, Any]) -> str:
    """What to do about a record of an earlier or later bucolic; "" for one that is read."""
    found = record.get("schema")
    if found == SCHEMA:
        return ""
    again = f"run its stage again (dvc repro -f -s {record.get('stage')})"
    what = "use the bucolic that wrote it" if is_later(record) else again
    return f"is a record of schema {found}, this bucolic reads {SCHEMA}: {what}"


def is_later(record: Mapping[str, Any]) -> bool:
    """Whether a later bucolic wrote a record."""
    found = record.get("schema")
    return isinstance(found, int) and found > SCHEMA

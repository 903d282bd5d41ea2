"""One stage, in this process: its lock, its workplace, its figures and its record.

The stage functions know paths and configuration only. What surrounds them is here: params.yaml is
validated whole, a second process of the same stage is turned away, partial work is kept under a
fingerprint of everything that decides the result, and every execution leaves a record.
"""

import importlib.metadata
import os
import subprocess
import time
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bucolic.errors import BucolicError, TransientError
from bucolic.files import fingerprint, remove, write_json
from bucolic.lock import holding
from bucolic.params import Params, load_params, sections
from bucolic.pipeline.digests import digest
from bucolic.pipeline.graph import Stage, read_graph
from bucolic.places import dataset_root, find_home
from bucolic.report import NoSink, Sink, Summary
from bucolic.runtime import Runtime

RECORD_SCHEMA = 1
PACKAGES = ("bucolic", "torch", "open_clip_torch", "webdataset", "pyarrow", "pillow", "numpy")
PASSED_ON = ("DVC_EXP_NAME", "PREFECT_FLOW_RUN_ID", "PREFECT__FLOW_RUN_ID")
StageCall = Callable[[Params, Runtime], Summary]
OpenSink = Callable[[Mapping[str, Any]], Sink]


@dataclass(frozen=True)
class Execution:
    """One execution of one stage; everything its record needs that is known before it starts."""

    stage: Stage
    root: Path
    home: Path
    params: Params
    inputs: dict[str, str | None]
    code: dict[str, str | None]

    @property
    def work(self) -> Path:
        """Folder of partial work, for exactly these params, inputs and code."""
        decided_by = [sections(self.params, self.stage.params), self.inputs, self.code]
        return self.root / ".work" / "stages" / self.stage.name / fingerprint(decided_by)


def execute(
    name: str, root: Path, call: StageCall, open_sink: OpenSink | None = None
) -> Path | None:
    """Run a stage of dvc.yaml and leave its figures and record.

    Args:
        name: the stage.
        root: the project.
        call: runs the stage's function with the params and a workplace.
        open_sink: from the beginnings of the record to where curves go; none keeps nothing.

    Returns:
        Path of the record's copy in the outbox; None in the further processes of torchrun.

    Raises:
        BucolicError: what the stage raised; a record of the failure has been left.
    """
    params = load_params(root)
    stage = next(stage for stage in read_graph(root) if stage.name == name)
    if int(os.environ.get("RANK", "0")) > 0:
        # Started by torchrun: the first process holds the lock, reports and tells MLflow.
        execution = prepare(stage, root, params)
        call(params, _workplace(execution, NoSink()))
        return None
    with holding(root / ".work" / "locks" / f"{name}.lock"):
        execution = prepare(stage, root, params)
        return _run(execution, call, open_sink)


def forget_partial_work(name: str, root: Path) -> None:
    """Remove the partial work of a stage that has come to its end, also that of other params.

    The last thing its verb does: whoever is killed before does not start from nothing.
    """
    remove(root / ".work" / "stages" / name)


def prepare(stage: Stage, root: Path, params: Params) -> Execution:
    """Take the digests of what the stage reads."""
    resolved = [dep.replace("${dataset.root}", params.dataset.root) for dep in stage.deps]
    inputs = {dep: digest(_place(root, dep, params)) for dep in resolved if not _is_code(dep)}
    code = {dep: digest(root / dep) for dep in resolved if _is_code(dep)}
    return Execution(stage, root, find_home(root), params, inputs, code)


def _run(execution: Execution, call: StageCall, open_sink: OpenSink | None) -> Path:
    record, started_s = _begin(execution), time.monotonic()
    sink = open_sink(record) if open_sink else NoSink()
    try:
        summary = call(execution.params, _workplace(execution, sink))
        _require_unchanged(execution)
    except BaseException as error:
        _leave_failure(execution, {**record, **_failure(error), "duration_s": _since(started_s)})
        raise
    ending = {"status": "ok", "duration_s": _since(started_s)}
    return _leave(execution, {**record, **ending, **_outcome(summary)})


def _require_unchanged(execution: Execution) -> None:
    """Refuse a result whose params, inputs or code were edited meanwhile.

    DVC takes their digests after the run: it would file this result under the new ones for good.
    """
    stage, root = execution.stage, execution.root
    if prepare(stage, root, load_params(root)).work != execution.work:
        raise TransientError(
            f"params.yaml, an input or the code changed while {stage.name} ran: run it again"
        )


def _workplace(execution: Execution, sink: Sink) -> Runtime:
    execution.work.mkdir(parents=True, exist_ok=True)
    return Runtime(work=execution.work, cache=execution.home / ".cache", sink=sink)


def _begin(execution: Execution) -> dict[str, Any]:
    git = _git_state(execution.root)
    return {
        "schema": RECORD_SCHEMA,
        "record_id": uuid.uuid4().hex,
        "stage": execution.stage.name,
        "status": "running",
        "error": None,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "keywords": list(execution.params.filter.keywords),
        "params": sections(execution.params, execution.stage.params),
        "inputs": execution.inputs,
        "git": git,
        "pipeline_id": pipeline_id(execution.root),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "environment": {name: os.environ[name] for name in PASSED_ON if name in os.environ},
    }


def _outcome(summary: Summary) -> dict[str, Any]:
    rows = summary.rows
    return {
        "rows": {"in": rows.into, "out": rows.out, "failed": rows.failed},
        "new": summary.new,
        "reused": summary.reused,
        "device": summary.device,
        "precision": summary.precision,
        "figures": dict(summary.figures),
    }


def _failure(error: BaseException) -> dict[str, Any]:
    known = error if isinstance(error, BucolicError) else None
    where = traceback.extract_tb(error.__traceback__)[-1]
    problem = {
        "kind": known.kind if known else type(error).__name__,
        "message": str(error) or type(error).__name__,
        "where": f"{Path(where.filename).name}:{where.lineno}",
        "retryable": known.retryable if known else False,
    }
    return {"status": "failed", "error": problem}


def _leave(execution: Execution, record: dict[str, Any]) -> Path:
    """Write figures, record and outbox copy."""
    reports, name = execution.root / "reports", execution.stage.name
    write_json(reports / f"{name}.json", record["figures"])
    written = (f"reports/records/{name}.json",)
    outs = [out for out in execution.stage.outs if out not in written]
    record = {**record, "outputs": {out: digest(execution.root / out) for out in outs}}
    write_json(reports / "records" / f"{name}.json", record)
    remove(execution.root / ".work" / "failures" / f"{name}.json")
    return _post(execution, record)


def _leave_failure(execution: Execution, record: dict[str, Any]) -> None:
    failures = execution.root / ".work" / "failures"
    write_json(failures / f"{execution.stage.name}.json", record)
    _post(execution, record)


def _post(execution: Execution, record: dict[str, Any]) -> Path:
    path = execution.home / ".work" / "outbox" / f"{record['record_id']}.json"
    write_json(path, {**record, "root": str(execution.root)})
    return path


def _is_code(dep: str) -> bool:
    return dep.startswith("src/")


def _place(root: Path, dep: str, params: Params) -> Path:
    return dataset_root(root, dep) if dep == params.dataset.root else root / dep


def _since(started_s: float) -> float:
    return round(time.monotonic() - started_s, 2)


def _git_state(root: Path) -> dict[str, Any]:
    """Commit, and whether files that decide a result differ from it.

    params.yaml is the user's knob and recorded by itself; dvc.lock and reports/ are what runs
    leave behind. Of files that Git does not know, code alone counts.
    """
    ignored = [":(exclude)params.yaml", ":(exclude)dvc.lock", ":(exclude)reports"]
    edited = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", *ignored)
    added = _git(root, "ls-files", "--others", "--exclude-standard", "--", "src", "flows")
    return {"commit": _git(root, "rev-parse", "HEAD") or None, "dirty": bool(edited or added)}


def _git(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else ""


def pipeline_id(root: Path) -> str:
    """What all stages of one run of the pipeline share: the params and the commit."""
    return fingerprint([digest(root / "params.yaml"), _git(root, "rev-parse", "HEAD") or None])

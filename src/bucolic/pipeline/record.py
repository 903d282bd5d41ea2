"""What a record says of one execution of a stage; execute.py puts its parts together.

Schema 1: schema, record_id, stage, status, error {kind, message, where, retryable}, started,
duration_s, keywords, params, inputs, code and outputs with DVC's own digests, rows {in, out,
failed}, new, reused, device, precision, figures, git {commit, dirty}, pipeline_id, versions,
environment. One of a stage that failed early lacks what was not known yet.
"""

import importlib.metadata
import os
import subprocess
import traceback
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bucolic.errors import BucolicError
from bucolic.files import fingerprint
from bucolic.pipeline.digests import digest
from bucolic.report import Summary
from bucolic.signals import Ended

SCHEMA = 1
PACKAGES = ("bucolic", "torch", "open_clip_torch", "webdataset", "pyarrow", "pillow", "numpy")
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
        "git": _git_state(root),
        "pipeline_id": pipeline_id(root),
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "environment": {name: os.environ[name] for name in PASSED_ON if name in os.environ},
    }


def outcome(summary: Summary) -> dict[str, Any]:
    """What a stage says of itself at its end."""
    rows = summary.rows
    return {
        "rows": {"in": rows.into, "out": rows.out, "failed": rows.failed},
        "new": summary.new,
        "reused": summary.reused,
        "device": summary.device,
        "precision": summary.precision,
        "figures": dict(summary.figures),
    }


def failure(error: BaseException) -> dict[str, Any]:
    """Status and error of a stage that did not come to its end."""
    known = error if isinstance(error, BucolicError | Ended) else None
    where = traceback.extract_tb(error.__traceback__)[-1]
    problem = {
        "kind": known.kind if known else type(error).__name__,
        "message": str(error) or type(error).__name__,
        "where": f"{Path(where.filename).name}:{where.lineno}",
        "retryable": known.retryable if known else False,
    }
    return {"status": "failed", "error": problem}


def pipeline_id(root: Path) -> str:
    """What all stages of one run of the pipeline share: the params and the commit."""
    return fingerprint([digest(root / "params.yaml"), _git(root, "rev-parse", "HEAD") or None])


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

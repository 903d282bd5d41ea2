"""One stage of dvc.yaml, run by DVC in a process of its own, and what became of it.

DVC answers 255 whatever a stage returned, so the kind of a failure is read from the record that the
failed stage left at .work/failures/STAGE.json (see pipeline/execute.py).
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from bucolic.base.files import remove
from bucolic.pipeline.post import FAILURES, RECORDS
from bucolic.pipeline.process import stream
from bucolic.pipeline.record import read_record

Status = Literal["ran", "cached", "failed"]
# DVC's per-path lock, which does not wait, and our own, which turns a second process away.
BUSY = ("is busy, it is being blocked by", "is running already as process")


@dataclass(frozen=True)
class Outcome:
    """What became of one stage.

    Attributes:
        stage: its name in dvc.yaml.
        status: "ran"; "cached" (unchanged, or its outs restored from DVC's run cache); "failed".
        duration_s: wall-clock seconds of this attempt, DVC's own checks included.
        record: the stage's record; of the execution that made the outs when cached, of the failed
            execution when failed; empty where there is none.
        message: one line, for a person.
        retryable: the failure may pass by itself (exit code 75, a busy lock).
    """

    stage: str
    status: Status
    duration_s: float
    record: Mapping[str, Any] = field(default_factory=dict)
    message: str = ""
    retryable: bool = False


def run_stage(
    root: Path,
    stage: str,
    on_line: Callable[[str], None],
    extra: Mapping[str, str] | None = None,
) -> Outcome:
    """Bring one stage up to date in the workspace `root`, handing its lines to `on_line`.

    Upstream stages are left alone. `extra` joins the environment of DVC and the stage.
    """
    failure = root / FAILURES / f"{stage}.json"
    remove(failure)  # an older failure must not speak for this attempt
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        on_line(line)

    started = time.monotonic()
    command = ["dvc", "--wait-for-lock", "repro", "--single-item", stage]
    code = stream(command, root, take, extra)
    duration_s = time.monotonic() - started
    if code:
        return _failed(stage, duration_s, read_record(failure), lines)
    record = read_record(root / RECORDS / f"{stage}.json")
    if f"Running stage '{stage}':" in lines:
        return Outcome(stage, "ran", duration_s, record, "ran")
    return Outcome(stage, "cached", duration_s, record, _made_by(record))


def _failed(stage: str, duration_s: float, record: dict[str, Any], lines: list[str]) -> Outcome:
    error = record.get("error") or {}
    message = error.get("message") or _last_error(lines)
    busy = any(sign in line for line in lines for sign in BUSY)
    return Outcome(
        stage, "failed", duration_s, record, message, bool(error.get("retryable")) or busy
    )


def _last_error(lines: list[str]) -> str:
    """DVC's own complaint, for a stage that never started or was killed."""
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return errors[-1] if errors else "DVC stopped without a word; its log is above"


def _made_by(record: Mapping[str, Any]) -> str:
    if not record:
        return "unchanged"
    return f"unchanged since {record['started']} (record {record['record_id']})"

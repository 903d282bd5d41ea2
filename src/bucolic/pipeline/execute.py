"""One stage, in this process: its lock, its workplace, its figures and its record.

The stage functions know paths and configuration only. What surrounds them is here: params.yaml is
validated whole, a second process of the same stage is turned away, work is kept under a fingerprint
of everything that decides the result (kept.py), and every execution leaves a record (record.py).
"""

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucolic.base.errors import TransientError, as_told
from bucolic.base.files import fingerprint, remove, replacing, write_json
from bucolic.base.lock import holding, waiting_for
from bucolic.base.places import dataset_root, find_home, keeper
from bucolic.base.report import NoSink, NoTracker, Sink, Summary, Tracker
from bucolic.base.runtime import Runtime
from bucolic.base.signals import Ended, hear_no_more, let_through
from bucolic.base.torchrun import leads, processes
from bucolic.pipeline import kept
from bucolic.pipeline.digests import Digests, code_digests, digest, is_code
from bucolic.pipeline.graph import Stage, find_stage, require_outs_inside
from bucolic.pipeline.libraries import installed, unlike_pins
from bucolic.pipeline.own_code import require_own_code
from bucolic.pipeline.params import Params, load_params, require_apart, sections
from bucolic.pipeline.post import FAILURES, RECORDS, TRACKED, post
from bucolic.pipeline.record import beginning, failure, results
from bucolic.pipeline.table import HEADLINE, PICTURES

StageCall = Callable[[Params, Runtime], Summary]
OpenTracker = Callable[[Mapping[str, Any]], Tracker]
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Execution:
    """One execution of one stage; everything its record needs that is known before it starts."""

    stage: Stage
    root: Path
    home: Path
    params: Params
    inputs: Digests
    code: Digests

    @property
    def fingerprint(self) -> str:
        """Of what decides the result: params, inputs and code."""
        params = sections(self.params, self.stage.params)
        return fingerprint([params, dict(self.inputs), dict(self.code)])

    @property
    def shelf(self) -> Path:
        """Where work is kept: HOME, which checkouts share, or this one where HOME is read-only."""
        return keeper(self.home, self.root, ".work")

    @property
    def work(self) -> Path:
        """Folder of partial work, for exactly this fingerprint."""
        return kept.partial_work(self.shelf, self.stage.name, self.fingerprint)

    def now(self, params: Params) -> str:
        """The fingerprint of `params` with inputs and code as they are now."""
        code = code_digests(self.stage.name, self.root)
        return prepare(self.stage, self.root, params, code).fingerprint


def execute(
    name: str,
    root: Path,
    call: StageCall,
    open_tracker: OpenTracker | None = None,
    code: Digests | None = None,
) -> None:
    """Run a stage of dvc.yaml and leave its figures and record.

    A result of the same params, inputs and code that was finished before, and that dvc.lock does
    not have yet, is put into place instead.

    Args:
        name: the stage.
        root: the project.
        call: runs the stage's function with the params and a workplace.
        open_tracker: from the beginnings of the record to where curves go; none keeps nothing.
        code: `digests.code_digests`, taken before the code was imported; by default, now.

    Raises:
        BucolicError: what the stage raised; a record of the failure has been left.
        Ended: a signal asked for the end; a record has been left.
    """
    require_own_code(root)
    code = code_digests(name, root) if code is None else code
    if not leads():
        # Started by torchrun: the first process holds the lock, reports and tells MLflow.
        let_through()
        execution = prepare(find_stage(root, name), root, load_params(root), code)
        kept.forget_committed(execution.shelf)
        if not kept.find_finished(execution.shelf, name, execution.fingerprint):
            call(execution.params, _workplace(execution, NoSink()))
        return
    with holding(lock_of(root, name)):
        record, started_s = beginning(name, root), time.monotonic()
        try:
            let_through()
            stage = find_stage(root, name)
            require_outs_inside(root, [stage])
            params = load_params(root)
            require_apart(params, root)
            execution = prepare(stage, root, params, code)
            record |= _known(execution)
            for line in unlike_pins(root, stage):
                logger.warning("%s", line)
            _bring_about(execution, call, open_tracker, record)
        except BaseException as error:
            if isinstance(error, Ended):
                hear_no_more()
            if "params" in record or isinstance(error, Ended):  # else there is nothing to tell
                told = failure(as_told(error) or error)
                _leave_failure(root, {**record, **told, "duration_s": _since(started_s)})
            raise


def lock_of(root: Path, name: str) -> Path:
    """The lock under which a stage runs in a checkout."""
    return root / ".work" / "locks" / f"{name}.lock"


def prepare(stage: Stage, root: Path, params: Params, code: Digests) -> Execution:
    """Take the digests of the data that the stage reads."""
    data = [dep for dep in stage.deps if not is_code(dep)]  # as declared: a root may be src/photos
    resolved = [dep.replace("${dataset.root}", params.dataset.root) for dep in data]
    inputs = {dep: digest(_place(root, dep, params), root) for dep in resolved}
    return Execution(stage, root, find_home(root), params, inputs, code)


def _bring_about(
    execution: Execution, call: StageCall, open_tracker: OpenTracker | None, record: dict[str, Any]
) -> None:
    """Bring the result back if it was finished before, else make it; post its record."""
    name, shelf, mark = execution.stage.name, execution.shelf, execution.fingerprint
    kept.forget_committed(shelf)
    with _alone(kept.lock_of(shelf, name, mark), name):
        if finished := kept.find_finished(shelf, name, mark):
            logger.info("%s: was finished before, as record %s", name, finished["record_id"])
            kept.bring_back(shelf, mark, execution.root, finished)
            _write_reports(execution, finished)
        else:
            finished = _run(execution, call, open_tracker, record)
    kept.forget_old(shelf)
    if not (execution.home / TRACKED / f"{finished['record_id']}.json").exists():
        post(execution.home, execution.root, {**finished, "driver": record["driver"]})


def _alone(lock: Path, name: str) -> AbstractContextManager[None]:
    """The lock under which one result is made, after whoever makes it in another checkout."""
    if processes() > 1:
        return holding(lock)  # the other processes of torchrun would not know what is waited for
    return waiting_for(lock, f"{name}: another process makes this very result: waiting for it")


def _run(
    execution: Execution, call: StageCall, open_tracker: OpenTracker | None, record: dict[str, Any]
) -> dict[str, Any]:
    started_s = time.monotonic()
    tracker = open_tracker(record) if open_tracker else NoTracker()
    summary = call(execution.params, _workplace(execution, _watched(execution, tracker)))
    if execution.now(execution.params) != execution.fingerprint:
        raise _changed(execution)
    _write_beside(execution, summary)
    ending = {"status": "ok", "duration_s": _since(started_s), **results(summary)}
    return _finish(execution, {**record, **ending})


def _finish(execution: Execution, record: dict[str, Any]) -> dict[str, Any]:
    """Write the reports and keep the result; refuse it where params.yaml was edited meanwhile.

    DVC takes digests after the run and would file it under the new params for good. Kept under the
    former ones, it is there again once these are back.
    """
    _write_reports(execution, record)
    record = {**record, "outputs": _outputs(execution)}
    _write_reports(execution, record)
    kept.keep_finished(execution.shelf, execution.fingerprint, execution.root, record)
    if execution.now(load_params(execution.root)) != execution.fingerprint:
        for path in _reports(execution):
            remove(path)
        raise _changed(execution)
    remove(execution.work)
    return record


def _changed(execution: Execution) -> TransientError:
    name = execution.stage.name
    return TransientError(
        f"params.yaml, an input or the code changed while {name} ran: run it again"
    )


def _watched(execution: Execution, tracker: Tracker) -> Sink:
    from bucolic.showing.watch import Watch  # noqa: PLC0415 - what shows is no matter of a result

    return Watch(execution.work / "samples.png", tracker)


def _write_beside(execution: Execution, summary: Summary) -> None:
    """Write headline and pictures of a result, where its stage has an out for them."""
    if HEADLINE in execution.stage.outs:
        write_json(execution.root / HEADLINE, summary.headline)
    if PICTURES in execution.stage.outs:
        _show(execution, summary)


def _show(execution: Execution, summary: Summary) -> None:
    from bucolic.showing.pictures import save_sheet  # noqa: PLC0415 - see `_watched`

    with replacing(execution.root / PICTURES) as folder:
        folder.mkdir()
        for name, sheet in summary.sheets.items():
            save_sheet(folder / f"{name}.png", sheet)


def _workplace(execution: Execution, sink: Sink) -> Runtime:
    execution.work.mkdir(parents=True, exist_ok=True)
    cache = keeper(execution.home, execution.root, ".cache") / ".cache"
    return Runtime(work=execution.work, cache=cache, sink=sink)


def _known(execution: Execution) -> dict[str, Any]:
    """What the record holds of an execution before it starts."""
    return {
        "keywords": list(execution.params.filter.keywords),
        "params": sections(execution.params, execution.stage.params),
        "inputs": execution.inputs,
        "code": execution.code,
        "versions": installed(execution.root, execution.stage),
    }


def _reports(execution: Execution) -> tuple[Path, Path]:
    """The files of the stage's figures and of its record."""
    name = f"{execution.stage.name}.json"
    return execution.root / "reports" / name, execution.root / RECORDS / name


def _write_reports(execution: Execution, record: Mapping[str, Any]) -> None:
    figures, place = _reports(execution)
    write_json(figures, record["figures"])
    write_json(place, record)
    remove(_failure_file(execution.root, execution.stage.name))


def _outputs(execution: Execution) -> dict[str, str | None]:
    """Digests of all outs but the record, which holds them."""
    record = _reports(execution)[1].relative_to(execution.root).as_posix()
    return {out: digest(execution.root / out) for out in execution.stage.outs if out != record}


def _leave_failure(root: Path, record: dict[str, Any]) -> None:
    try:
        write_json(_failure_file(root, record["stage"]), record)
    except OSError as error:
        # On a full disk the failure itself is what the user must hear of.
        logger.warning("%s: no record of its failure could be left (%s)", record["stage"], error)
    post(find_home(root), root, record)


def _failure_file(root: Path, stage: str) -> Path:
    return root / FAILURES / f"{stage}.json"


def _place(root: Path, dep: str, params: Params) -> Path:
    return dataset_root(root, dep) if dep == params.dataset.root else root / dep


def _since(started_s: float) -> float:
    return round(time.monotonic() - started_s, 2)

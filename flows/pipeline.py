"""The main flow: every stage of dvc.yaml as one Prefect task, in the graph's own order.

DVC decides what runs and keeps the results; Prefect decides when, where and how often. So no task
result is cached here, and a stage that DVC skips shows as Cached, with the run that made it.

    prefect deployment run 'bucolic/local' --watch
    prefect deployment run 'bucolic/local' --param 'keywords=["cow", "sheep"]' --watch
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run, task_run
from prefect.states import Completed, Failed

from bucolic.base.errors import BucolicError, TransientError
from bucolic.base.files import this_process
from bucolic.base.places import find_home, find_root
from bucolic.pipeline import commands
from bucolic.pipeline.driver import DRIVER
from bucolic.pipeline.graph import Stage, read_graph
from bucolic.pipeline.own_code import require_own_code
from bucolic.pipeline.stage_run import Outcome, run_stage
from bucolic.pipeline.summary import result_page, stage_table, status_line
from bucolic.pipeline.workspace import Workspace, open_workspace

RETRY_DELAYS_S = [10.0, 60.0, 300.0]


@flow(name="bucolic")
def bucolic(
    keywords: list[str] | None = None, overrides: dict[str, Any] | None = None
) -> State[Any]:
    """Bring the pipeline up to date and report on it.

    Args:
        keywords: a theme to run instead of params.yaml's `filter.keywords`.
        overrides: other keys of params.yaml, dotted: {"train.seed": 1}. With either of the two the
            run gets a workspace of its own and is kept as a DVC experiment; params.yaml and the
            outs of this workspace stay as they are.
    """
    changes = dict(overrides or {})
    if keywords is not None:
        changes["filter.keywords"] = keywords
    try:
        root = find_root(Path.cwd())
        require_own_code(root)
        home = find_home(root)
        workspace = open_workspace(root, home, changes)
        _check(workspace)
        return _run(workspace, home)
    except BucolicError as error:
        return Failed(message=str(error))


@task(
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=lambda _task, _run, state: _is_transient(state),
)
def bring_up_to_date(stage: str, workspace: Workspace) -> State[Any]:
    """Run one stage through DVC; only a failure that may pass by itself is tried again."""
    of_flow = {"PREFECT__FLOW_RUN_ID": str(flow_run.id), DRIVER: this_process()}
    environment = {**workspace.environment, **of_flow}
    outcome = run_stage(workspace.root, stage, _log(), environment)
    if outcome.retryable and task_run.run_count <= len(RETRY_DELAYS_S):
        raise TransientError(outcome.message)
    if outcome.status == "failed":
        return Failed(message=outcome.message, data=outcome)
    name = "Cached" if outcome.status == "cached" else None
    return Completed(name=name, message=outcome.message, data=outcome)


def _check(workspace: Workspace) -> None:
    try:
        commands.check_params(workspace, _log())
    except BucolicError:
        workspace.discard()
        raise


def _run(workspace: Workspace, home: Path) -> State[Any]:
    graph = read_graph(workspace.root)
    outcomes = _run_stages(graph, workspace)
    commands.send_records(workspace, _log())
    names = [stage.name for stage in graph]
    create_table_artifact(stage_table(names, outcomes, home), key="stages")
    failed = next((o for o in outcomes.values() if o.status == "failed"), None)
    if failed:
        place = f"; its workspace is kept: {workspace.root}" if workspace.name else ""
        return Failed(message=f"{failed.stage}: {failed.message}{place}")
    report = _report(workspace)
    create_markdown_artifact(result_page(workspace, outcomes, home, report), key="result")
    workspace.save()
    return Completed(message=status_line(names, outcomes))


def _run_stages(graph: tuple[Stage, ...], workspace: Workspace) -> dict[str, Outcome]:
    """Run the stages in order, up to the first that fails."""
    states: dict[str, State[Any]] = {}
    outcomes: dict[str, Outcome] = {}
    for stage in graph:
        run = bring_up_to_date.with_options(name=stage.name, task_run_name=stage.name)
        upstream = [states[name] for name in stage.upstream]
        state: State[Any] = run(stage.name, workspace, wait_for=upstream, return_state=True)
        states[stage.name] = state
        outcomes[stage.name] = _outcome(stage.name, state)
        if state.is_failed():
            break
    return outcomes


def _outcome(stage: str, state: State[Any]) -> Outcome:
    """What a task returned; an exception that nobody foresaw counts as a failure, too."""
    result = state.result(raise_on_failure=False)
    if isinstance(result, Outcome):
        return result
    return Outcome(stage, "failed", 0.0, message=f"{type(result).__name__}: {result}")


def _report(workspace: Workspace) -> Path:
    """Render the report; an isolated run's is copied out of the workspace that will go."""
    commands.render_report(workspace, _log())
    report = workspace.root / "reports" / "report.html"
    if not workspace.name or not report.is_file():
        return report
    kept = workspace.main / "reports" / "runs" / f"{workspace.name}.html"
    kept.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy2(report, kept))


def _is_transient(state: State[Any]) -> bool:
    return isinstance(state.result(raise_on_failure=False), TransientError)


def _log() -> Callable[[str], None]:
    logger = get_run_logger()

    def log(line: str) -> None:
        if line.strip():
            logger.info("%s", line)

    return log


if __name__ == "__main__":
    bucolic()

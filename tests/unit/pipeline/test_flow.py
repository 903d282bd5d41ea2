"""The main flow, on a toy project and a real (temporary) Prefect server."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest

from bucolic.base.errors import ParamsError
from bucolic.pipeline import commands
from bucolic.pipeline.environment import QUIET
from bucolic.pipeline.process import process_group
from bucolic.pipeline.workspace import Workspace
from toy_project import call, order

FLOW = Path(__file__).parents[3] / "flows" / "pipeline.py"


@pytest.fixture(scope="session")
def flows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """flows/pipeline.py, imported beside a Prefect server that lives as long as the session."""
    from prefect.settings import PREFECT_HOME, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    spec = importlib.util.spec_from_file_location("flow_under_test", FLOW)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    home = tmp_path_factory.mktemp("prefect")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "flow_under_test", module)
        for name, value in QUIET.items():
            patch.setenv(name, value)
        with temporary_settings({PREFECT_HOME: home}), prefect_test_harness(180):
            spec.loader.exec_module(module)
            yield module


@pytest.fixture
def verbs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The verbs the flow calls around the stages; the toy project has no `bucolic` of its own."""
    called: list[str] = []

    def report(workspace: Workspace, _log: Any) -> None:
        called.append("report")
        (workspace.root / "reports" / "report.html").write_text("a report")

    monkeypatch.setattr(commands, "check_params", lambda *_: called.append("params check"))
    monkeypatch.setattr(commands, "render_report", report)
    monkeypatch.setattr(commands, "send_records", lambda *_: called.append("track"))
    return called


@pytest.fixture
def run(flows: ModuleType, verbs: list[str], toy: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the flow in the toy project without waiting between tries; returns its final state."""
    monkeypatch.chdir(toy)
    monkeypatch.setattr(flows.bring_up_to_date, "retry_delay_seconds", [0.0, 0.0, 0.0])

    def call_flow(**parameters: Any) -> Any:
        return flows.bucolic(**parameters, return_state=True)

    return call_flow


def task_runs(state: Any) -> list[Any]:
    """The task runs of a flow run in order of start, read back from the server."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    only = FlowRunFilter(id=FlowRunFilterId(any_=[state.state_details.flow_run_id]))
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(flow_run_filter=only)
    return sorted(runs, key=lambda run: run.start_time)


def artifact(key: str) -> Any:
    """The latest artifact with a key."""
    from prefect.artifacts import Artifact

    return Artifact.get(key)


def test_one_task_per_stage_then_all_cached(run: Any, verbs: list[str], toy: Path):
    """The flow makes one task per stage in the graph's order; the second run shows them cached."""
    first, second = run(), run()
    assert first.is_completed()
    assert [r.name for r in task_runs(first)] == ["first", "second", "third"]
    assert [r.state_name for r in task_runs(first)] == ["Completed"] * 3
    assert [r.state_name for r in task_runs(second)] == ["Cached"] * 3
    assert second.message == "3 cached"
    assert verbs == ["params check", "track", "report"] * 2
    table = artifact("stages").data
    assert "cached" in table
    assert '"rows failed": 1' in table
    page = artifact("result").data
    assert "| accuracy | **0.5** | 0.9 |" in page  # what the table lacks, by its own name
    assert str(toy / "reports" / "report.html") in page


def test_tasks_are_linked_as_in_the_graph(run: Any):
    """Prefect's page shows which stage waited for which."""
    runs = task_runs(run())
    waited = [[item.id for item in r.task_inputs.get("wait_for", [])] for r in runs]
    assert [[], [runs[0].id], [runs[1].id]] == waited


def test_passing_failure_is_tried_again(run: Any, toy: Path):
    """A stage that fails with 75 twice and then works needs three tries in one flow run."""
    order(toy, "second", times=2, code=75)
    state = run()
    assert state.is_completed()
    assert [r.run_count for r in task_runs(state)] == [1, 3, 1]


def test_permanent_failure_ends_the_flow_with_its_line(run: Any, toy: Path):
    """A stage that fails with 3 is not tried again; the flow carries its message."""
    order(toy, "second", times=5, code=3)
    state = run()
    assert state.message == "second: second met data"
    assert [(r.name, r.run_count, r.state_name) for r in task_runs(state)] == [
        ("first", 1, "Completed"),
        ("second", 1, "Failed"),
    ]
    assert "not reached" in artifact("stages").data


def test_retries_end(run: Any, toy: Path):
    """A stage that goes on failing with 75 fails the flow after four tries."""
    order(toy, "first", times=9, code=75)
    state = run()
    assert state.message == "first: first met transient"
    assert [r.run_count for r in task_runs(state)] == [4]


def test_keywords_run_in_their_own_workspace(run: Any, toy: Path):
    """Other keywords leave params.yaml and outs alone; result and report are kept by name."""
    before = (toy / "params.yaml").read_bytes()
    state = run(keywords=["alpaca"], overrides={"second.factor": 7})
    assert state.is_completed()
    assert before == (toy / "params.yaml").read_bytes()
    assert not (toy / "third.txt").exists()
    (report,) = (toy / "reports" / "runs").iterdir()
    assert report.stem.startswith("alpaca-")
    assert report.stem in call(toy, "dvc", "exp", "show", "--csv", "--no-pager")
    assert f"dvc exp apply {report.stem}" in artifact("result").data


def test_failed_isolated_run_is_kept_and_named(run: Any, toy: Path):
    """The workspace of a run that failed stays, and the message says where."""
    order(toy, "second", times=1, code=3)
    state = run(keywords=["alpaca"])
    (kept,) = (toy / ".work" / "runs").iterdir()
    assert state.message.endswith(f"its workspace is kept: {kept}")
    assert (kept / "first" / "out.txt").is_file()


def test_bad_params_fail_before_any_stage(run: Any, toy: Path, monkeypatch: pytest.MonkeyPatch):
    """A refused params.yaml fails the flow with its line, runs no stage, leaves no workspace."""

    def refuse(*_: Any) -> None:
        raise ParamsError("filter.keywords: at least one keyword")

    monkeypatch.setattr(commands, "check_params", refuse)
    state = run(keywords=[])
    assert state.message == "filter.keywords: at least one keyword"
    assert task_runs(state) == []
    assert list((toy / ".work" / "runs").iterdir()) == []


CANCELLED = """
import importlib.util, sys
from bucolic.pipeline import commands
commands.check_params = lambda *_: None
spec = importlib.util.spec_from_file_location("flow", sys.argv[1])
module = sys.modules["flow"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
module.bucolic()
"""


def test_a_cancelled_flow_ends_its_stage(flows: ModuleType, toy: Path):
    """SIGTERM, which is how Prefect's worker cancels, ends the stage's own process as well."""
    from prefect.settings import get_current_settings

    order(toy, "first", wait_s=120)
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-c", CANCELLED, str(FLOW)]
    with process_group(command, toy, {**settings, "PREFECT_LOGGING_LEVEL": "INFO"}) as child:
        assert child.stdout
        line = next(line for line in child.stdout if "waiting as " in line)
        stage = psutil.Process(int(line.split()[-1]))
        child.terminate()
        child.stdout.read()
        child.wait(60)
    stage.wait(20)
    assert not stage.is_running()

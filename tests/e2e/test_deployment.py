"""The deployment as users run it: prefect.yaml, Prefect's server and worker, the flow, DVC."""

import json
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bucolic.pipeline import up
from project import Project
from random_kills import toy_project

THEME = ["hill", "grass", "cow", "sheep", "horse", "mountain", "fence", "forest", "farm"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, dict[str, str]]]:
    """A toy pipeline, run once, with server, deployments and worker; and a shell's environment."""
    project, _ = toy_project(tmp_path_factory.mktemp("deployed") / "bucolic")
    logs = project.root / ".work/logs"
    logs.mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setattr(up, "PREFECT_PORT", free_port())
        own = {"BUCOLIC_TRACKING": "on", "PYTHONPATH": str(project.root / "src")}
        environment = up._environment(project.root) | own
        server = up._prefect()
        child = stack.enter_context(up._running(server, project.root, environment, logs))
        up._wait_until_ready(server, child, logs)
        up._deploy(project.root, environment, logs)
        stack.enter_context(up._running(up._worker(), project.root, environment, logs))
        yield project, environment


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def deploy(running: tuple[Project, dict[str, str]], *arguments: str) -> str:
    """Run the deployment to its end, as README says; what it printed."""
    project, environment = running
    done = subprocess.run(
        ["prefect", "deployment", "run", "bucolic/local", *arguments, "--watch"],
        cwd=project.root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    worker = (project.root / ".work/logs/worker.log").read_text()
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{worker[-4000:]}"
    return done.stdout


def test_a_deployment_brings_the_pipeline_up_to_date(running: tuple[Project, dict[str, str]]):
    """Nothing to do is Completed too; after a change the stages below it run and are tracked."""
    project, _ = running
    assert "Completed" in deploy(running)
    project.set_param("evaluate", "seed", 1)
    assert "Completed" in deploy(running)
    record = project.record("evaluate")
    assert record["params"]["evaluate"]["seed"] == 1
    assert record["environment"]["PREFECT__FLOW_RUN_ID"]
    sent = project.root / ".work/tracked" / f"{record['record_id']}.json"
    assert json.loads(sent.read_text())["run_id"]


def test_a_deployment_with_keywords_leaves_the_checkout_alone(
    running: tuple[Project, dict[str, str]],
):
    """It runs in a workspace of its own, which is kept as an experiment and removed."""
    project, _ = running
    before = (project.root / "params.yaml").read_bytes(), project.outputs()
    assert "Completed" in deploy(running, "--param", f"keywords={json.dumps(THEME)}")
    assert before == ((project.root / "params.yaml").read_bytes(), project.outputs())
    assert "hill-grass-cow-" in project.run("dvc", "exp", "list", "--all-commits").stdout
    assert not list((project.root / ".work/runs").glob("*/dvc.yaml"))
    assert not list((project.root / ".work/failures").glob("*.json"))

"""A stage that is asked to end says so, at any moment: a record, one line, an exit code."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from project import STAGES, Project, copy_project

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny pipeline, run once."""
    copied = copy_project(tmp_path_factory.mktemp("ended") / "bucolic")
    copied.repro()
    return copied


def test_two_processes_asked_to_end_before_they_began_leave_a_record(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """The signal waits in the one that starts them until there is one that can say it."""
    monkeypatch.setenv("BUCOLIC_PROCESSES", "2")
    project.set_param("train", "seed", 4)
    child = start(project, "train")
    while not holds_back(child.pid, signal.SIGTERM) and child.poll() is None:
        time.sleep(0.001)
    require_said(project, child, "train", signal.SIGTERM)


@pytest.mark.parametrize(
    ("stage", "number"), [(stage, SIGNALS[i % 3]) for i, stage in enumerate(STAGES)]
)
def test_a_stage_asked_to_end_before_it_began_leaves_a_record(
    project: Project, stage: str, number: signal.Signals
):
    """The signal waits until there is something that can be said, which is soon."""
    child = start(project, stage)
    while not holds_back(child.pid, number) and child.poll() is None:
        time.sleep(0.001)
    require_said(project, child, stage, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_training_asked_to_end_leaves_a_record_and_goes_on_later(
    project: Project, number: signal.Signals
):
    """Amid its work it ends within seconds, and the next run goes on from its last checkpoint."""
    project.set_param("train", "seed", int(number))
    project.set_param("train", "prior_images", 60_000)
    child = start(project, "train")
    sign = f".work/stages/train/{'[0-9a-f]' * 16}/autoencoder-*.safetensors"
    before = set(project.root.glob(sign))
    while not set(project.root.glob(sign)) - before and child.poll() is None:
        time.sleep(0.01)
    require_said(project, child, "train", number)


def test_drawing_asked_to_end_takes_its_processes_along(project: Project):
    """Ctrl-C in a terminal reaches all processes of the group: one line, nobody is left."""
    project.set_param("dataset", "root", "datasets/meadow")
    child = start(project, "annotations")
    while len(workers := psutil.Process(child.pid).children()) < 3 and child.poll() is None:
        time.sleep(0.01)
    require_said(project, child, "annotations", signal.SIGINT, group=True)
    assert [] == psutil.wait_procs(workers, timeout=20)[1]


def test_drawing_that_is_killed_takes_its_processes_along(project: Project):
    """SIGKILL reaches the stage alone: its processes see that it is gone."""
    project.set_param("dataset", "root", "datasets/meadow")
    child = start(project, "annotations")
    while len(workers := psutil.Process(child.pid).children()) < 3 and child.poll() is None:
        time.sleep(0.01)
    assert len(workers) >= 2
    child.kill()
    assert child.wait() == -signal.SIGKILL
    assert [] == psutil.wait_procs(workers, timeout=20)[1]


def test_training_in_two_processes_leaves_one_record_and_ends_as_one_does(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """What `bucolic train` starts for each device speaks with one voice."""
    monkeypatch.setenv("BUCOLIC_PROCESSES", "2")
    project.set_param("train", "prior_images", 1600)
    project.set_param("train", "seed", 2)
    printed = project.run("bucolic", "train").stdout
    assert project.record("train")["details"]["processes"] == 2
    assert printed.count("device: cpu") == 1
    project.set_param("train", "seed", 3)
    monkeypatch.setenv("BUCOLIC_PROCESSES", "3")
    refused = project.run("bucolic", "train", check=False)
    assert refused.returncode == 2
    (said,) = [line for line in refused.stdout.splitlines() if "cannot be shared" in line]
    assert said.startswith("bucolic: ")
    assert refused.stdout.splitlines()[-1] == said
    failure = json.loads(failure_of(project, "train").read_text())
    assert failure["error"]["kind"] == "params"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_trains_in_two_processes_ends_with_the_one_that_started_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
):
    """Asked to end or killed, nobody is left at work, and the record says why."""
    monkeypatch.setenv("BUCOLIC_PROCESSES", "2")
    project.set_param("train", "prior_images", 60_000)
    project.set_param("train", "seed", 20 + int(number))
    child = start(project, "train")
    sign = f".work/stages/train/{'[0-9a-f]' * 16}/autoencoder-*.safetensors"
    before = set(project.root.glob(sign))
    while not set(project.root.glob(sign)) - before and child.poll() is None:
        time.sleep(0.01)
    workers = psutil.Process(child.pid).children()
    assert len(workers) >= 2
    if number == signal.SIGINT:
        require_said(project, child, "train", number)
    else:
        child.kill()
    assert [] == psutil.wait_procs(workers, timeout=20)[1]
    failure = json.loads(failure_of(project, "train").read_text())
    assert failure["error"]["kind"] == "ended"


def test_a_signal_that_was_switched_off_stays_off(project: Project):
    """Under nohup a closed terminal ends nothing."""
    child = start(project, "filter", "nohup")
    while not holds_back(child.pid, signal.SIGTERM) and child.poll() is None:
        time.sleep(0.001)
    os.kill(child.pid, signal.SIGHUP)
    printed, _ = child.communicate()
    assert 0 == child.returncode, printed


def start(project: Project, stage: str, *before: str) -> subprocess.Popen[str]:
    """Start a stage's verb in a group of its own, its old record of failure out of the way."""
    failure_of(project, stage).unlink(missing_ok=True)
    for path in (project.root / ".work").glob("outbox/*.json"):
        path.unlink()
    return subprocess.Popen(
        (*before, "bucolic", stage),
        cwd=project.root,
        env=project.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def holds_back(pid: int, number: signal.Signals) -> bool:
    """Whether a process lets a signal wait: Python and the command line are there by then."""
    status = Path(f"/proc/{pid}/status").read_text()
    (mask,) = [line.split()[1] for line in status.splitlines() if line.startswith("SigBlk:")]
    return bool(int(mask, 16) >> (number - 1) & 1)


def require_said(
    project: Project,
    child: subprocess.Popen[str],
    stage: str,
    number: signal.Signals,
    *,
    group: bool = False,
) -> None:
    """Send the signal; exit code, record, outbox and the one line are as they should be."""
    (os.killpg if group else os.kill)(child.pid, number)
    printed, _ = child.communicate(timeout=60)
    assert 128 + number == child.returncode, printed
    record = json.loads(failure_of(project, stage).read_text())
    assert ("failed", "ended") == (record["status"], record["error"]["kind"])
    assert f"ended by {number.name}" == record["error"]["message"]
    (waiting,) = (project.root / ".work/outbox").glob("*.json")
    assert record["record_id"] == waiting.stem
    assert printed.splitlines()[-1] == f"bucolic: ended by {number.name}"
    assert "Traceback" not in printed


def failure_of(project: Project, stage: str) -> Path:
    """Where a stage leaves the record of its failure."""
    return project.root / ".work/failures" / f"{stage}.json"

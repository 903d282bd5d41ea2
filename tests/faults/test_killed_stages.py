"""Each stage killed at a random moment: the same command again gives the same bytes."""

import os
import random
import signal
import subprocess
import time

import pytest

from bucolic.files import remove
from project import STAGES, Project, copy_project


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny pipeline, run once undisturbed."""
    copied = copy_project(tmp_path_factory.mktemp("killed") / "bucolic")
    copied.repro()
    return copied


def kill_in_the_middle(project: Project, stage: str, after_s: float) -> bool:
    """Start a stage as DVC would, kill its process group after a while; whether it still ran."""
    child = subprocess.Popen(
        ["bucolic", stage],
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    time.sleep(after_s)
    running = child.poll() is None
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    return running


@pytest.mark.parametrize("stage", STAGES)
def test_killed_stage_run_again_gives_the_same_bytes(project: Project, stage: str):
    """Killed at a random moment without its stores, then run again: outs equal the undisturbed."""
    expected = project.outputs()
    duration_s = project.record(stage)["duration_s"]
    for out in project.outs_of(stage):
        remove(project.root / out)
    remove(project.root / ".cache" / {"embed": "embeddings"}.get(stage, "meadow"))
    moment = random.Random(stage).uniform(0.3, 1.0)  # noqa: S311 - which moment is no secret
    assert kill_in_the_middle(project, stage, after_s=moment * max(duration_s, 0.4))
    project.run("dvc", "repro", "--force", "--single-item", "--no-run-cache", stage)
    assert project.outputs() == expected

"""Whose end ends a pipeline."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from bucolic.base.files import is_alive, process_name, this_process
from bucolic.pipeline.driver import DRIVER, driver, is_dvc

ASK = "from bucolic.pipeline.driver import driver; print(driver())"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("dvc repro", True),
        ("/a/bin/python /a/bin/dvc repro", True),
        ("python3.11 -m dvc repro", True),
        ("python -X utf8 -m dvc repro", True),
        ("python -B /a/bin/dvc", True),
        ("su - dvc", False),
        ("vim dvc", False),
        ("python train.py dvc", False),
        ("bash -c dvc", False),
        ("", False),
    ],
)
def test_dvc_is_known_by_what_runs_and_not_by_a_word(command: str, expected: bool):
    """A user, a folder or an argument of that name drives nothing."""
    assert is_dvc(command.split()) == expected


def test_a_stage_that_dvc_runs_is_driven_by_dvc(tmp_path: Path):
    """Also through a shell in between, that of the command in dvc.yaml."""
    script = tmp_path / "dvc"
    script.write_text("import subprocess, sys; subprocess.run(sys.argv[1], shell=True)")
    command = f"{sys.executable} -c '{ASK}'; true"
    dvc = subprocess.Popen([sys.executable, script, command], stdout=subprocess.PIPE, text=True)
    printed, _ = dvc.communicate()
    assert printed.strip() == process_name(dvc.pid)


def test_a_stage_called_by_hand_drives_itself(monkeypatch: pytest.MonkeyPatch):
    """Its own end ends what it was asked for."""
    monkeypatch.setattr(psutil.Process, "parents", lambda _: [])
    assert driver() == this_process()


def test_a_flow_drives_the_dvc_of_each_stage(monkeypatch: pytest.MonkeyPatch):
    """It says so in the environment."""
    monkeypatch.setenv(DRIVER, "a-1")
    assert driver() == "a-1"


@pytest.mark.parametrize("error", [psutil.AccessDenied(1), psutil.NoSuchProcess(1), OSError(13)])
def test_processes_that_may_not_be_looked_at_stop_no_stage(
    monkeypatch: pytest.MonkeyPatch, error: Exception
):
    """On a machine that hides them, a stage drives itself."""

    def fail(_: psutil.Process) -> None:
        raise error

    monkeypatch.setattr(psutil.Process, "parents", fail)
    assert driver() == this_process()


def test_a_process_that_nobody_waits_for_has_ended():
    """In a container whose first process waits for nobody it would live for ever."""
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(child.pid)
    child.wait()

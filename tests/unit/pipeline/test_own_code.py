"""A verb runs the code of the checkout it is called in, whatever environment is active."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bucolic.pipeline.own_code import require_own_code, runs_own_code
from project import ROOT, copy_project

BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another checkout, whose code says which it is."""
    root = copy_project(tmp_path_factory.mktemp("other") / "bucolic").root
    with (root / "src/bucolic/pipeline/params.py").open("a") as file:
        file.write("\nprint('RAN FROM', __file__)\n")
    return root


def call(folder: Path, *command: str, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, where the environment is that of the checkout under test."""
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PATH": path, **extra}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        ("bucolic", "params", "check"),
        (sys.executable, "-W", "ignore", "-m", "bucolic.cli", "params", "check"),
    ],
)
def test_another_checkout_runs_its_own_code(other: Path, command: tuple[str, ...]):
    """The package of the environment starts again as that of the folder, below it as well."""
    for folder in (other, other / "src"):
        done = call(folder, *command)
        assert f"RAN FROM {other}/src/bucolic/pipeline/params.py" in done.stdout
        assert 0 == done.returncode, done.stderr


def test_each_process_of_torchrun_runs_the_checkout_s_code(other: Path):
    """Both of two processes start again, and keep what torchrun told them."""
    command = ("torchrun", "--nproc-per-node", "2", "-m", "bucolic.cli", "params", "check")
    done = call(other, *command)
    assert 2 == done.stdout.count(f"RAN FROM {other}/src/bucolic/pipeline/params.py"), done.stderr
    assert 0 == done.returncode


def test_where_the_code_cannot_be_the_checkout_s_one_line_says_what_to_do(other: Path):
    """An interpreter that is told to ignore PYTHONPATH is not started again and again."""
    done = call(other, sys.executable, "-I", str(BIN / "bucolic"), "params", "check")
    assert (2, "") == (done.returncode, done.stdout)
    (line,) = done.stderr.splitlines()
    assert "activate this checkout's own environment" in line
    assert f"{other}/src" in line


def test_an_environment_that_lacks_a_package_is_named(other: Path):
    """Newer code under an older environment ends in one line that says how to mend it."""
    path = other / "src/bucolic/presets/__init__.py"
    path.write_text(f"import not_to_be_had\n{path.read_text()}")
    done = call(other, "bucolic", "preset", "tiny")
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"bucolic: the environment {sys.prefix} lacks not_to_be_had")
    assert 2 == done.returncode


def test_a_project_without_code_of_its_own_is_anybody_s(tmp_path: Path):
    """A folder with nothing but a dvc.yaml is worked in by the package that is installed."""
    assert runs_own_code(tmp_path)
    assert runs_own_code(ROOT)
    require_own_code(ROOT)

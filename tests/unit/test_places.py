"""The one place of caches and stores, from wherever a stage runs."""

import subprocess
from pathlib import Path

import pytest

from bucolic.places import find_home


def make(root: Path) -> Path:
    """A Git repository with a dvc.yaml."""
    root.mkdir(parents=True)
    (root / "dvc.yaml").touch()
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *identity, *command], cwd=root, check=True)
    return root


@pytest.mark.parametrize("place", ["standalone/tmpab12", "tmpab12"])
def test_an_experiment_in_dvcs_own_folder_belongs_to_its_checkout(tmp_path: Path, place: str):
    """`dvc exp run --temp` and `--queue` work in a repository that is removed: not a HOME."""
    main = make(tmp_path / "main")
    assert main == find_home(make(main / ".dvc/tmp/exps" / place))


def test_an_experiment_of_a_worktree_belongs_to_the_main_checkout(tmp_path: Path):
    """A worktree is no HOME either, seen from an experiment that runs in it."""
    main, worktree = make(tmp_path / "main"), tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=main, check=True)
    assert main == find_home(worktree)
    assert main == find_home(make(worktree / ".dvc/tmp/exps/tmpab12"))


def test_a_folder_of_that_name_in_no_checkout_is_a_home_of_its_own(tmp_path: Path):
    """Without a dvc.yaml above, the checkout itself is HOME."""
    root = make(tmp_path / ".dvc/tmp/exps/tmpab12")
    assert root == find_home(root)

"""The one place of caches and stores, from wherever a stage runs."""

import os
import subprocess
from pathlib import Path

import pytest

from bucolic.base.errors import ParamsError
from bucolic.base.places import database_path, find_home, keeper


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


@pytest.mark.parametrize("asked", ["new/home", "new/home/", "./new/../new/home"])
def test_a_home_that_is_asked_for_is_made_beside_the_main_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
):
    """A relative BUCOLIC_HOME is one place, seen from worktrees and experiments, too."""
    main, worktree = make(tmp_path / "main"), tmp_path / "worktree"
    subprocess.run(["git", "worktree", "add", "-q", str(worktree)], cwd=main, check=True)
    monkeypatch.setenv("BUCOLIC_HOME", asked)
    assert main / "new/home" == find_home(main)
    assert main / "new/home" == find_home(worktree)
    assert main / "new/home" == find_home(make(main / ".dvc/tmp/exps/tmpab12"))
    assert (main / "new/home").is_dir()


def test_a_tilde_is_the_users_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As in a shell, which leaves it alone inside quotes."""
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.setenv("BUCOLIC_HOME", "~/stores")
    assert tmp_path / "me/stores" == find_home(make(tmp_path / "main"))


@pytest.mark.parametrize(
    "asked",
    ["taken", "taken/below", "/proc/nothing", "~no-such-user/x", "x" * 300, "a\ud800"],
)
def test_a_home_that_is_no_folder_is_one_line_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
):
    """A file, a place that cannot be made, a user who is not there: exit 2, and the variable."""
    root = make(tmp_path / "main")
    (root / "taken").touch()
    monkeypatch.setattr("os.environ", {**os.environ, "BUCOLIC_HOME": asked})
    with pytest.raises(ParamsError, match="BUCOLIC_HOME=") as caught:
        find_home(root)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "a#b", "a%20b", "50%", "what?", "l'été", 'q"', "a&b@d:e"])
def test_a_database_is_made_in_a_folder_of_any_name(tmp_path: Path, name: str):
    """SQLAlchemy, which decodes addresses, finds the very folder and makes none beside it."""
    from sqlalchemy import create_engine, text

    folder = tmp_path / name
    folder.mkdir()
    engine = create_engine(f"sqlite:///{database_path(folder / 'x.db')}")
    with engine.connect() as connection:
        connection.execute(text("create table t (a int)"))
    engine.dispose()
    assert [folder / "x.db"] == list(folder.iterdir())
    assert [folder] == list(tmp_path.iterdir())


def test_a_store_that_cannot_be_written_gives_way_to_the_workspaces(tmp_path: Path):
    """Stages find a place for what they fetch, and use HOME's wherever it can be written."""
    home, root = tmp_path / "home", tmp_path / "root"
    home.mkdir()
    assert home == keeper(home, root, ".cache")
    (home / ".cache").rmdir()
    (home / ".cache").touch()  # as good as a read-only disk, whoever tries
    assert root == keeper(home, root, ".cache")

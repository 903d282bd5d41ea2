"""Git asked in one way: the user's settings change no answer, and no answer is not an answer."""

import logging
import subprocess
from pathlib import Path

import pytest

from bucolic.pipeline import git
from bucolic.pipeline.environment import child_environment


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own ~/.gitconfig, empty."""
    path = tmp_path / "gitconfig"
    path.touch()
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(path))
    return path


@pytest.fixture
def root(tmp_path: Path, user: Path) -> Path:
    """A repository with one commit and a folder of code."""
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "a.py").write_text("x = 1\n")
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    commit_all(folder)
    return folder


def commit_all(folder: Path):
    """Commit what is there."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    for command in (["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GIT_DIR", "/nowhere"),
        ("GIT_WORK_TREE", "/nowhere"),
        ("GIT_INDEX_FILE", "/nowhere"),
        ("GIT_LITERAL_PATHSPECS", "1"),
        ("GIT_OBJECT_DIRECTORY", "/nowhere"),
    ],
)
def test_variables_that_a_hook_has_change_no_answer(
    root: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    """They would answer for another repository; neither Git nor what we start gets them."""
    before = git.state(root)
    assert (40, False) == (len(before["commit"]), before["dirty"])
    monkeypatch.setenv(name, value)
    assert before == git.state(root)
    assert name not in child_environment()


@pytest.mark.parametrize(
    ("name", "is_dirty"),
    [
        ("bench/shard.py", True),
        ("bench/results.py", True),
        ("docs/cows.png", True),
        ("src/results/a.json", True),
        ("params.yaml", False),
        ("reports/filter.json", False),
        ("bench/results/shard.json", False),
        ("bench/RESULTS.md", False),
        ("README.md", False),
        ("docs/deep/er.md", False),
    ],
)
def test_files_that_decide_no_result_make_nothing_dirty(root: Path, name: str, is_dirty: bool):
    """What a benchmark records is no edit that the next one would have to refuse."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("as committed")
    commit_all(root)
    assert git.state(root)["dirty"] is False
    path.write_text("edited")
    assert is_dirty is git.state(root)["dirty"]


def test_a_result_that_nobody_committed_yet_is_not_dirty(root: Path):
    """Of files that Git does not know, code of src/ and flows/ alone counts."""
    (root / "bench/results").mkdir(parents=True)
    (root / "bench/results/new.json").write_text("{}")
    assert git.state(root)["dirty"] is False


def test_configuration_in_the_environment_is_kept(root: Path, monkeypatch: pytest.MonkeyPatch):
    """safe.directory may be there; our own settings still come last."""
    for name, value in (("COUNT", "1"), ("KEY_0", "user.name"), ("VALUE_0", "of the environment")):
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    assert git.identity(root)["GIT_AUTHOR_NAME"] == "of the environment"
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.hooksPath")
    assert b"/dev/null\n" == git.ask(root, "config", "core.hooksPath")


def test_who_commits_is_the_user_or_the_program(
    root: Path, user: Path, monkeypatch: pytest.MonkeyPatch
):
    """DVC saves no experiment for nobody, so that somebody is always named."""
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "c@localhost")
    user.write_text("[user]\n  name = Ada Ø\n")
    assert {
        "GIT_AUTHOR_NAME": "Ada Ø",
        "GIT_COMMITTER_NAME": "Ada Ø",
        "GIT_AUTHOR_EMAIL": "bucolic@localhost",
        "GIT_COMMITTER_EMAIL": "c@localhost",
    } == git.identity(root)


def test_what_git_does_not_answer_is_unknown_and_said(
    root: Path, user: Path, caplog: pytest.LogCaptureFixture
):
    """A record says null, not clean, and one warning has Git's own words."""
    user.write_text("[core\n")
    with caplog.at_level(logging.WARNING):
        assert {"commit": None, "dirty": None} == git.state(root)
    assert 1 == len(caplog.records)
    assert f"fatal: bad config line 1 in file {user}" in caplog.text
    assert git.known_commit(root) is None
    with pytest.raises(git.GitError, match="bad config line 1"):
        git.commit(root)


def test_a_folder_of_another_owner_is_not_clean(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Git's "dubious ownership" is no answer, and its way out comes along in the same line."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setattr(git, "KEPT", git.re.compile(r"GIT_(CONFIG_|TEST_)"))
    assert {"commit": None, "dirty": None} == git.state(root)
    assert "detected dubious ownership" in caplog.records[0].getMessage()
    assert "git config --global --add safe.directory" in caplog.records[0].getMessage()
    assert 1 == len(caplog.records[0].getMessage().splitlines())


def test_without_git_one_line_says_so(root: Path, monkeypatch: pytest.MonkeyPatch):
    """No Git on PATH is an error of one line, not a traceback."""
    monkeypatch.setenv("PATH", str(root))
    with pytest.raises(git.GitError, match="git cannot be started"):
        git.commit(root)


def test_a_repository_without_a_commit_is_an_answer(tmp_path: Path):
    """There is none yet, and files that none holds make it dirty."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "a.py").touch()
    assert {"commit": None, "dirty": True} == git.state(tmp_path)

"""Isolated workspaces: what they carry over, what they leave alone, what stays behind."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from bucolic.base.errors import BucolicError, DataError, ParamsError
from bucolic.pipeline import workspace as module
from bucolic.pipeline.stage_run import run_stage
from bucolic.pipeline.workspace import open_workspace, run_name, set_params
from bucolic.pipeline.yaml_file import read_yaml
from toy_project import call

THEME = {"filter.keywords": ["no", "alpaca"]}


def quiet(_line: str) -> None:
    """Take a line and forget it."""


def test_no_overrides_is_the_users_own_workspace(toy: Path):
    """Without overrides nothing is made, and discarding does nothing."""
    workspace = open_workspace(toy, toy, {})
    workspace.discard()
    assert (toy, None) == (workspace.root, workspace.name)
    assert (toy / "dvc.yaml").is_file()
    assert not (toy / ".work").exists()


def test_overrides_leave_the_users_files_and_become_an_experiment(toy: Path):
    """The user's params.yaml and outs stay; edits come along; the result is an experiment."""
    edited = (toy / "params.yaml").read_text().replace("factor: 2", "factor: 5")
    (toy / "params.yaml").write_text(edited)
    (toy / "notes").mkdir()
    (toy / "notes" / "new.md").write_bytes(b"untracked \xff\n")
    workspace = open_workspace(toy, toy, THEME)
    assert (workspace.root / "notes" / "new.md").read_bytes() == b"untracked \xff\n"
    for stage in ("first", "second", "third"):
        assert run_stage(workspace.root, stage, quiet, workspace.environment).status == "ran"
    made = (workspace.root / "third.txt").read_text()
    assert "- no\n  - alpaca\n" in made
    assert "factor: 5" in made
    workspace.save()
    assert not workspace.root.exists()
    assert edited == (toy / "params.yaml").read_text()
    assert not (toy / "third.txt").exists()
    assert workspace.name in call(toy, "dvc", "exp", "show", "--csv", "--no-pager")
    call(toy, "dvc", "exp", "apply", str(workspace.name))
    assert made == (toy / "third.txt").read_text()


def test_edits_of_a_file_with_windows_line_ends_come_along(toy: Path):
    """Carriage returns of a tracked file and of its edits arrive byte for byte."""
    path = toy / "notes.txt"
    path.write_bytes(b"one\r\ntwo\r\nthree\r\n")
    call(toy, "git", "add", "-f", "notes.txt")
    call(toy, "git", "commit", "-q", "-m", "notes")
    edited = b"one\r\nzwei \xff\r\nthree\nfour\r\n"
    path.write_bytes(edited)
    workspace = open_workspace(toy, toy, THEME)
    assert edited == (workspace.root / "notes.txt").read_bytes()


def test_a_kept_workspace_is_found_again(toy: Path):
    """The same overrides on the same state reuse the kept folder; another state gets another."""
    first = open_workspace(toy, toy, THEME)
    (first.root / "partial").write_text("work of a stage that failed")
    again = open_workspace(toy, toy, THEME)
    assert first == again
    assert (again.root / "partial").is_file()
    (toy / "params.yaml").write_text((toy / "params.yaml").read_text() + "# edited\n")
    assert run_name(toy, THEME) != first.name


def test_a_half_made_workspace_is_made_anew(toy: Path):
    """A folder left by a killed preparation, without its marker, does not stand in the way."""
    root = toy / ".work" / "runs" / run_name(toy, THEME)
    root.mkdir(parents=True)
    (root / "half").touch()
    workspace = open_workspace(toy, toy, THEME)
    assert root == workspace.root
    assert (root / "dvc.yaml").is_file()
    assert not (root / "half").exists()


def test_an_unknown_section_is_refused_and_leaves_nothing(toy: Path):
    """An override outside params.yaml's sections is one line, and no workspace is left."""
    with pytest.raises(ParamsError, match=r"'filtre.keywords'.*no such section"):
        open_workspace(toy, toy, {"filtre.keywords": ["cow"]})
    assert not (toy / ".work" / "runs").exists()


def test_a_section_that_the_file_leaves_to_its_defaults_can_be_overridden(toy: Path):
    """The schema knows `tracking`, which no preset of drawings lists."""
    workspace = open_workspace(toy, toy, {"tracking.photographs": True})
    assert {"photographs": True} == read_yaml(workspace.root / "params.yaml")["tracking"]
    assert str(workspace.name).startswith("tracking-photographs-")


@pytest.mark.parametrize("value", [5, "cow", None])
def test_keywords_that_are_no_list_name_no_run(toy: Path, value: object):
    """The schema refuses them later, in one line; until then the run is called by the key."""
    assert run_name(toy, {"filter.keywords": value}).startswith("filter-keywords-")


def test_a_folder_of_images_is_linked_and_not_copied(toy: Path):
    """Photographs that Git neither tracks nor ignores are shared, and do not decide the name."""
    (toy / ".gitignore").write_text((toy / ".gitignore").read_text().replace("/photos/\n", ""))
    (toy / "photos" / "1.jpg").write_bytes(b"a photograph")
    name = run_name(toy, THEME)
    (toy / "photos" / "2.jpg").write_bytes(b"another")
    assert name == run_name(toy, THEME)
    workspace = open_workspace(toy, toy, THEME)
    assert (workspace.root / "photos").is_symlink()
    assert b"another" == (workspace.root / "photos" / "2.jpg").read_bytes()
    assert run_stage(workspace.root, "first", quiet, workspace.environment).status == "ran"


@pytest.mark.parametrize(
    "keywords",
    [
        *(
            ["../../x"],
            ["/etc"],
            [".."],
            ["🐄"],
            ["-rf"],
            ["a.lock"],
            ["a\nb\0"],
            ["HEAD"],
            ["@{1}"],
        ),
        *([], "cow", [7], ["x" * 300]),
    ],
)
def test_any_keywords_name_a_folder_and_an_experiment(toy: Path, keywords: Any):
    """The name is one part of a path, and one that Git takes for a reference."""
    name = run_name(toy, {"filter.keywords": keywords})
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*-[0-9a-f]{8}", name)
    assert len(name) <= 39
    call(toy, "git", "check-ref-format", f"refs/exps/{name}")


def test_params_keep_comments_and_types(tmp_path: Path):
    """Editing params.yaml keeps comments, and words that YAML could misread stay words."""
    path = tmp_path / "params.yaml"
    path.write_text("# top\nfilter:\n  keywords: [cow] # theme\ntrain: {lr: 1}\n")
    set_params(path, {"filter.keywords": ["no", "1"], "train.lr": 5e-4})
    from ruamel.yaml import YAML

    content = YAML(typ="safe").load(path.read_text())
    assert content == {"filter": {"keywords": ["no", "1"]}, "train": {"lr": 5e-4}}
    assert "# top" in path.read_text()


FAILS = "#!/bin/sh\necho ran >> {log}\nexit 1\n"
HOSTILE = """
[diff]
  noprefix = true
  renames = copies
  external = /bin/false
[color]
  ui = always
[core]
  quotePath = true
  fsmonitor = /bin/false
  attributesFile = {attributes}
  excludesFile = {excludes}
[filter "broken"]
  clean = /bin/false
  smudge = /bin/false
  required = true
[commit]
  gpgSign = true
[status]
  showUntrackedFiles = no
  relativePaths = true
"""


@pytest.fixture
def user(toy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own ~/.gitconfig, and nobody named in the repository."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_"))]:
        monkeypatch.delenv(name)
    for key in ("user.name", "user.email"):
        call(toy, "git", "config", "--unset", key)
    path = tmp_path / ".gitconfig"
    path.touch()
    return path


def worktrees(root: Path) -> int:
    """How many worktrees Git knows of, the checkout itself among them."""
    listed = subprocess.run(
        ["git", "worktree", "list", "--porcelain"], cwd=root, capture_output=True, check=True
    )
    return listed.stdout.count(b"worktree ")


def test_no_setting_or_hook_of_the_user_changes_a_run(
    toy: Path, user: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Settings, failing hooks, another's variables, no name: the run is made, runs and is saved."""
    (tmp_path / "attributes").write_text("*.py filter=broken\n*.yaml text eol=crlf\n")
    (tmp_path / "excludes").write_text("*.py\n*.bin\n")
    user.write_text(
        HOSTILE.format(attributes=tmp_path / "attributes", excludes=tmp_path / "excludes")
    )
    for hook in ("post-checkout", "post-index-change", "pre-commit", "reference-transaction"):
        (toy / ".git/hooks" / hook).write_text(FAILS.format(log=tmp_path / "hooks.log"))
        (toy / ".git/hooks" / hook).chmod(0o755)
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE", "GIT_EXTERNAL_DIFF"):
        monkeypatch.setenv(name, "/nowhere")
    edited = (toy / "params.yaml").read_text() + "# edited\n"
    (toy / "params.yaml").write_text(edited)
    with (toy / "stage.py").open("a") as file:
        file.write("# edited\n")
    workspace = open_workspace(toy, toy, THEME)
    assert (toy / "stage.py").read_bytes() == (workspace.root / "stage.py").read_bytes()
    for stage in ("first", "second", "third"):
        assert "ran" == run_stage(workspace.root, stage, quiet, workspace.environment).status
    workspace.save()
    assert not workspace.root.exists()
    assert not (tmp_path / "hooks.log").exists()
    monkeypatch.delenv("GIT_DIR")
    assert 1 == worktrees(toy)
    refs = call(toy, "git", "for-each-ref", "--format=%(refname)", "refs/exps")
    assert str(workspace.name) in refs


def test_the_files_of_a_run_are_the_users_byte_for_byte(toy: Path, user: Path):
    """Whatever Git calls them: staged, only intended, removed, odd names, links, programs."""
    (toy / "gone.txt").write_text("tracked\n")
    (toy / "kept.md").write_bytes(b"one\r\ntwo\n")
    call(toy, "git", "add", "-f", "gone.txt", "kept.md")
    named = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    call(toy, "git", *named, "commit", "-qm", "more")
    user.write_text("[core]\n  autocrlf = true\n")
    call(toy, "git", "update-index", "--assume-unchanged", "kept.md")
    (toy / "kept.md").write_bytes(b"one\r\nedited\n")
    (toy / "gone.txt").unlink()
    (toy / "intended.md").write_text("git add -N\n")
    (toy / "staged.md").write_text("staged\n")
    call(toy, "git", "add", "-N", "intended.md")
    call(toy, "git", "add", "staged.md")
    (toy / "staged.md").write_text("and edited\n")
    odd = os.fsdecode(b"odd \xff\nname.md")
    (toy / odd).write_text("odd\n")
    (toy / "tool.sh").write_text("#!/bin/sh\n")
    (toy / "tool.sh").chmod(0o755)
    (toy / "link").symlink_to("nothing")
    root = open_workspace(toy, toy, THEME).root
    for name in ("kept.md", "intended.md", "staged.md", odd, "stage.py", "dvc.yaml"):
        assert (toy / name).read_bytes() == (root / name).read_bytes()
    assert not (root / "gone.txt").exists()
    assert os.access(root / "tool.sh", os.X_OK)
    assert "nothing" == str((root / "link").readlink())


def test_every_file_decides_the_name_of_a_run(toy: Path, user: Path):
    """An edit that Git was told not to see gives the run another name; a look at it does not."""
    call(toy, "git", "update-index", "--skip-worktree", "stage.py")
    name = run_name(toy, THEME)
    os.utime(toy / "params.yaml")
    assert name == run_name(toy, THEME)
    (toy / "stage.py").write_text((toy / "stage.py").read_text() + "# edited\n")
    assert name != run_name(toy, THEME)


def test_a_project_below_the_top_of_its_repository_works(toy: Path, user: Path, tmp_path: Path):
    """The run is made of the whole repository, its dvc.lock is saved, and its folder goes."""
    top = tmp_path / "all of it"
    (top / "library").mkdir(parents=True)
    (top / "library" / "code.py").write_text("x = 1\n")
    shutil.rmtree(toy / ".git")
    main = Path(shutil.move(toy, top / "study"))
    call(top, "git", "init", "-q")
    call(main, "dvc", "config", "core.no_scm", "false")
    call(top, "git", "add", "-A")
    named = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    call(top, "git", *named, "commit", "-qm", "all")
    (top / "library" / "code.py").write_text("x = 2\n")
    workspace = open_workspace(main, main, THEME)
    assert main / ".work/runs" / str(workspace.name) / "study" == workspace.root
    assert "x = 2\n" == (workspace.root.parent / "library" / "code.py").read_text()
    for stage in ("first", "second", "third"):
        assert "ran" == run_stage(workspace.root, stage, quiet, workspace.environment).status
    workspace.save()
    assert [] == list((main / ".work/runs").iterdir())
    ref = call(top, "git", "for-each-ref", "--format=%(refname)", f"refs/exps/**/{workspace.name}")
    assert "study/dvc.lock" in call(top, "git", "diff", "--name-only", "HEAD", ref.strip())


def test_a_sparse_checkout_is_saved_whole(toy: Path, user: Path):
    """Files that the user has left out are in the run, or DVC would save them as removed."""
    (toy / "docs").mkdir()
    (toy / "docs" / "page.md").write_text("page\n")
    call(toy, "git", "add", "-A")
    named = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    call(toy, "git", *named, "commit", "-qm", "docs")
    call(toy, "git", "sparse-checkout", "set", ".dvc")
    assert not (toy / "docs").exists()
    root = open_workspace(toy, toy, THEME).root
    assert "page\n" == (root / "docs" / "page.md").read_text()


@pytest.mark.parametrize(
    ("broken", "error"),
    [
        ("_share_cache", DataError("DVC's words")),
        ("set_params", KeyboardInterrupt()),
        ("_link", OSError(28, "No space left on device", "photos")),
    ],
)
def test_nothing_half_made_is_left(
    toy: Path, monkeypatch: pytest.MonkeyPatch, broken: str, error: BaseException
):
    """Whatever fails while a workspace is made: its own error comes, folder and entry are gone."""

    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(module, broken, fails)
    expected = DataError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        open_workspace(toy, toy, THEME)
    assert [] == list((toy / ".work/runs").iterdir())
    assert 1 == worktrees(toy)


def test_what_a_killed_preparation_left_is_swept_and_the_users_worktrees_are_not(
    toy: Path, tmp_path: Path
):
    """Also one of another name; a worktree of the user on a disk that is away keeps its entry."""
    call(toy, "git", "worktree", "add", "-q", str(tmp_path / "away"))
    (tmp_path / "away").rename(tmp_path / "unmounted")
    killed = open_workspace(toy, toy, {"filter.keywords": ["killed"]})
    (killed.root / ".work/workspace.json").unlink()
    whole = open_workspace(toy, toy, {"filter.keywords": ["whole"]})
    workspace = open_workspace(toy, toy, THEME)
    assert {str(whole.name), str(workspace.name)} == {
        path.name for path in (toy / ".work/runs").iterdir()
    }
    assert 4 == worktrees(toy)
    assert str(tmp_path / "away") in call(toy, "git", "worktree", "list")
    workspace.discard()
    assert 3 == worktrees(toy)


def test_a_folder_removed_by_hand_is_made_anew(toy: Path):
    """Git still knows a worktree there, which stops nothing."""
    workspace = open_workspace(toy, toy, THEME)
    shutil.rmtree(workspace.root)
    assert (open_workspace(toy, toy, THEME).root / "dvc.yaml").is_file()


@pytest.mark.parametrize(
    ("break_", "said"),
    [
        ("rm -rf .git", "not a git repository"),
        ("rm -rf .git; git init -q", "has no commit yet"),
        ("echo '[core' > .git/config", "bad config"),
        ("git update-index --add --cacheinfo 160000,$(git rev-parse HEAD),sub", "submodule"),
    ],
)
def test_what_git_cannot_do_is_refused_in_one_line_and_nothing_is_made(
    toy: Path, break_: str, said: str
):
    """Before anything is made, with Git's own words where it has some."""
    subprocess.run(break_, cwd=toy, shell=True, check=True)  # noqa: S602 - the test's own lines
    with pytest.raises(BucolicError, match=said) as raised:
        open_workspace(toy, toy, THEME)
    assert 1 == len(str(raised.value).splitlines())
    assert not (toy / ".work" / "runs").exists()


def test_params_keep_their_mark_and_line_ends(tmp_path: Path):
    """A file that a Windows editor wrote stays one, byte for byte but for the value."""
    path = tmp_path / "params.yaml"
    before = "\ufeff# é\r\nfilter:\r\n  keywords: [cow] # theme\r\n".encode()
    path.write_bytes(before)
    set_params(path, {"filter.match": "word"})
    assert before + b"  match: word\r\n" == path.read_bytes()

"""Isolated workspaces: what they carry over, what they leave alone, what stays behind."""

import re
from pathlib import Path
from typing import Any

import pytest

from bucolic.errors import ParamsError
from bucolic.pipeline.stage_run import run_stage
from bucolic.pipeline.workspace import open_workspace, run_name, set_params
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

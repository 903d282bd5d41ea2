"""Outputs found again after the workspace has moved on."""

import subprocess
from pathlib import Path

import pytest

from bucolic.pipeline.digests import digest
from bucolic.tracking.outputs import find_output


def call(root: Path, *command: str) -> None:
    """Run a command in a folder."""
    subprocess.run(command, cwd=root, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A Git and DVC checkout without anything in it."""
    root = tmp_path / "a project"
    root.mkdir()
    call(root, "git", "init", "-q")
    call(root, "dvc", "init", "-q")
    return root


@pytest.mark.parametrize("where", ["absolute", "../relative", None])
def test_weights_are_found_wherever_dvc_keeps_its_cache(
    checkout: Path, tmp_path: Path, where: str | None
):
    """A folder that only the cache still has is put together from it, byte for byte."""
    if where:
        named = str(tmp_path / where) if where == "absolute" else where
        call(checkout, "dvc", "cache", "dir", "--local", named)
    (checkout / "model/deep").mkdir(parents=True)
    (checkout / "model/a.bin").write_bytes(b"weights")
    (checkout / "model/deep/b.bin").write_bytes(b"more")
    recorded = digest(checkout / "model")
    assert recorded
    call(checkout, "dvc", "add", "-q", "model")
    call(checkout, "rm", "-rf", "model")
    (tmp_path / "scratch").mkdir()
    found = find_output(checkout, checkout, "model", recorded, tmp_path / "scratch")
    assert found == tmp_path / "scratch/model"
    assert digest(found) == recorded


def test_what_is_nowhere_is_not_found(checkout: Path, tmp_path: Path):
    """Neither a workspace that is gone nor a cache without the file gives anything else."""
    (checkout / "other.bin").write_bytes(b"other")
    gone = tmp_path / "gone"
    assert find_output(gone, checkout, "other.bin", "0" * 32, tmp_path) is None

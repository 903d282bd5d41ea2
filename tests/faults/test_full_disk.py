"""A disk that is full, or fills up amid a stage, is for now: later the bytes are the same."""

import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bucolic.base.files import remove
from project import STAGES, Project
from random_kills import forget, locked, toy_project

DISK_BYTES = 400_000_000
LEFT_SHARES = 0.0, 0.5  # of what a stage writes
OUT_OF_ROOM = 75


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small disk in memory, which only root may mount."""
    folder = tmp_path_factory.mktemp("disk")
    size = f"size={DISK_BYTES}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture(scope="module")
def project(disk: Path) -> Project:
    """A pipeline of 56 drawings on that disk, run once."""
    return toy_project(disk / "bucolic")[0]


@contextmanager
def room(disk: Path, free_bytes: int) -> Iterator[None]:
    """Leave so much of a disk for the block."""
    ballast = disk / "ballast"
    with ballast.open("wb") as file:
        if taken_bytes := free_of(disk) - free_bytes:
            os.posix_fallocate(file.fileno(), 0, taken_bytes)
    try:
        yield
    finally:
        ballast.unlink()


def free_of(disk: Path) -> int:
    """Bytes."""
    found = os.statvfs(disk)
    return found.f_bavail * found.f_frsize


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_on_a_full_disk_ends_for_now_and_later_gives_the_same_bytes(
    disk: Path, project: Project, stage: str
):
    """Whether nothing fits, or a part of what it writes; in one line that says what to do."""
    expected = locked(project)[stage]
    clear(project, stage, expected)
    before = free_of(disk)
    project.run("bucolic", stage)
    written_bytes = before - free_of(disk)
    for share in LEFT_SHARES:
        clear(project, stage, expected)
        with room(disk, int(share * written_bytes)):
            done = project.run("bucolic", stage, check=False)
        assert done.returncode == OUT_OF_ROOM, done.stdout
        assert "Traceback" not in done.stdout
        *_, said = done.stdout.strip().splitlines()
        assert "no space left" in said or "free" in said
    project.run("dvc", "repro", "-s", stage)
    assert locked(project)[stage] == expected
    assert not list((project.root / "data").glob(".*.tmp"))


def clear(project: Project, stage: str, outs: Iterable[str]) -> None:
    """Remove what a stage made, and the stores that it fills."""
    forget(project, stage, keep_lock=False)
    for out in outs:
        remove(project.root / out)

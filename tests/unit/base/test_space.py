"""Room on a disk and in memory."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bucolic.base import space
from bucolic.base.errors import TransientError


def test_what_does_not_fit_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the disk of the nearest folder that is there; what just fits is let through."""
    asked = []

    def usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=2_000_000_000)

    monkeypatch.setattr(space.shutil, "disk_usage", usage)

    space.require_space(tmp_path / "a/b", 2_000_000_000, "this")
    with pytest.raises(TransientError, match=r"that takes 2\.50 GB, and the disk of .* has 2\.00"):
        space.require_space(tmp_path, 2_500_000_000, "that")
    assert asked == [tmp_path, tmp_path]


@pytest.mark.parametrize(
    ("group", "free_bytes"),
    [
        ({"memory.max": "700\n", "memory.current": "300\n"}, 400),
        ({"memory.max": "9000\n", "memory.current": "300\n"}, 1000),
        ({"memory.max": "max\n", "memory.current": "300\n"}, 1000),
        ({}, 1000),
    ],
)
def test_free_memory_is_the_machine_s_within_the_group_s_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: dict[str, str], free_bytes: int
):
    """A container sees all of its host's memory, and is killed beyond its own."""
    for name, content in group.items():
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(space, "CGROUP", tmp_path)
    monkeypatch.setattr(space.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    assert space.free_memory_bytes() == free_bytes

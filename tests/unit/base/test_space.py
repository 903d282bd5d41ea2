"""Room on a disk and in memory."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bucolic.base import control_groups, space
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


LIMITED = {"memory.max": "700", "memory.current": "300", "memory.stat": "inactive_file 0"}


@pytest.mark.parametrize(
    ("listed", "groups", "free_bytes"),
    [
        ("0::/\n", {"": LIMITED}, 400),
        ("0::/job/step\n", {"job/step": LIMITED}, 400),
        ("0::/job/step\n", {"job": LIMITED, "job/step": LIMITED | {"memory.max": "600"}}, 300),
        ("0::/of/the/host\n", {"": LIMITED}, 400),
        ("0::/\n", {"": LIMITED | {"memory.stat": "anon 1\ninactive_file 250"}}, 650),
        ("0::/\n", {"": LIMITED | {"memory.max": "9000"}}, 1000),
        ("0::/\n", {"": LIMITED | {"memory.max": "max"}}, 1000),
        ("0::/\n", {"": LIMITED | {"memory.max": "200"}}, 0),
        (
            "5:memory:/job\n4:cpu:/job\n",
            {
                "memory/job": {
                    "memory.limit_in_bytes": "500",
                    "memory.usage_in_bytes": "300",
                    "memory.stat": "total_inactive_file 100",
                }
            },
            300,
        ),
        ("0::/\n", {}, 1000),
    ],
)
def test_free_memory_is_the_machine_s_within_the_limits_of_all_groups(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    listed: str,
    groups: dict[str, dict[str, str]],
    free_bytes: int,
):
    """A job or container sees all of its host's memory, and is killed beyond its own."""
    (tmp_path / "listed").write_text(listed)
    for folder, files in groups.items():
        (tmp_path / "mount" / folder).mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (tmp_path / "mount" / folder / name).write_text(content + "\n")
    monkeypatch.setattr(control_groups, "LISTED", tmp_path / "listed")
    monkeypatch.setattr(control_groups, "MOUNT", tmp_path / "mount")
    monkeypatch.setattr(space.psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    assert space.free_memory_bytes() == free_bytes
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert space.free_memory_bytes() == free_bytes // 4

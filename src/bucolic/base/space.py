"""Room on a disk and in memory, looked at before hours are spent on filling it."""

import shutil
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bucolic.base.errors import TransientError

CGROUP = Path("/sys/fs/cgroup")


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse what does not fit on the disk of a folder, which need not be there yet.

    Raises:
        TransientError: with how much is needed and free, and what to do.
    """
    if said := lack_of_space(folder, needed_bytes, what):
        raise TransientError(said)


def lack_of_space(folder: Path, needed_bytes: int, what: str) -> str | None:
    """How much is needed and free, and what to do, where it does not fit."""
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(there).free
    if needed_bytes <= free_bytes:
        return None
    return (
        f"{what} takes {needed_bytes / 1e9:.2f} GB, and the disk of {there} has "
        f"{free_bytes / 1e9:.2f} GB free: make room, or let BUCOLIC_HOME name another disk"
    )


def free_memory_bytes() -> int:
    """Memory that this process may still use: the machine's, within its control group's limit."""
    free = int(psutil.virtual_memory().available)
    try:
        limit, used = ((CGROUP / name).read_text() for name in ("memory.max", "memory.current"))
        return min(free, int(limit) - int(used))
    except (OSError, ValueError):  # no such group, or "max"
        return free

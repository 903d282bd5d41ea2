"""Room on a disk and in memory, looked at before hours are spent on filling it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bucolic.base.control_groups import control_groups
from bucolic.base.errors import TransientError
from bucolic.base.torchrun import processes_here


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
    """Memory that this process may still use: its share of the machine's, within its limits.

    What torchrun started beside it on this machine wants as much.
    """
    free = [int(psutil.virtual_memory().available)]
    free += [left for folder in control_groups("memory") for left in _left_in(folder)]
    return max(0, min(free)) // processes_here()


def _left_in(folder: Path) -> Iterator[int]:
    """Bytes that a control group of version 2 or 1 has left, where it has a limit.

    Files that were read count as used there, and make way for whoever needs the memory.
    """
    v2 = (folder / "memory.max").is_file()
    limit, used = (
        ("memory.max", "memory.current")
        if v2
        else ("memory.limit_in_bytes", "memory.usage_in_bytes")
    )
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        stat = dict(line.split(maxsplit=1) for line in lines)
        idle = int(stat["inactive_file" if v2 else "total_inactive_file"])
        yield int((folder / limit).read_text()) - int((folder / used).read_text()) + idle
    except (OSError, ValueError, KeyError):  # no such group, or "max"
        return

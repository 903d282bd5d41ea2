"""Room on a disk, looked at before hours are spent on filling it."""

import shutil
from pathlib import Path

from bucolic.base.errors import TransientError


def require_space(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse what does not fit on the disk of a folder, which need not be there yet.

    Raises:
        TransientError: with how much is needed and free, and what to do.
    """
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free_bytes = shutil.disk_usage(there).free
    if needed_bytes > free_bytes:
        raise TransientError(
            f"{what} takes {needed_bytes / 1e9:.2f} GB, and the disk of {there} has "
            f"{free_bytes / 1e9:.2f} GB free: make room, or let BUCOLIC_HOME name another disk"
        )

"""The kernel's control groups that this process is in, which limit what it may use."""

from collections.abc import Iterator
from pathlib import Path

LISTED = Path("/proc/self/cgroup")
MOUNT = Path("/sys/fs/cgroup")


def control_groups(controller: str) -> Iterator[Path]:
    """Folders of the groups above this process, of version 2 or of version 1's `controller`."""
    try:
        lines = LISTED.read_text().splitlines()
    except OSError:
        return  # no control groups on this system
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = MOUNT / controller if controllers else MOUNT
        # In a container the path may be the host's: the mount itself then is the group.
        below = Path(path.lstrip("/"))
        yield from (mount / part for part in (below, *below.parents))

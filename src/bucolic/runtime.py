"""What a stage is given besides its inputs: things that must not change a byte of its output.

Device, worker count and places come from flags and the environment, never from params.yaml. The
device is the one exception that can change last bits; it is recorded wherever vectors are stored.
"""

import functools
import logging
import math
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bucolic.errors import ParamsError
from bucolic.report import NoSink, Sink

logger = logging.getLogger(__name__)
CGROUP = Path("/proc/self/cgroup")
CGROUPS = Path("/sys/fs/cgroup")
NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"), Path("/dev/nvidiactl"))


def default_workers() -> int:
    """Return BUCOLIC_WORKERS, else the number of CPUs that this process may use.

    Raises:
        ParamsError: BUCOLIC_WORKERS is no whole number from 1.
    """
    asked = os.environ.get("BUCOLIC_WORKERS", "").strip()
    if not asked:
        return usable_cpus()
    if not re.fullmatch("[1-9][0-9]{0,3}", asked):
        raise ParamsError(f"BUCOLIC_WORKERS is {asked!r}: set a whole number from 1 to 9999")
    return int(asked)


def usable_cpus() -> int:
    """CPUs by this process's affinity and by the quota of its control groups; at least 1."""
    allowed = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    return max(1, min([allowed, *(math.ceil(cpus) for cpus in _quotas())]))


def _quotas() -> Iterator[float]:
    """CPUs that each control group above this process grants, where it limits them."""
    try:
        lines = CGROUP.read_text().splitlines()
    except OSError:
        return  # no control groups on this system
    for line in lines:
        _, controllers, path = line.split(":", maxsplit=2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = CGROUPS / "cpu" if controllers else CGROUPS
        # In a container the path may be the host's: the mount itself then is the group.
        below = Path(path.lstrip("/"))
        for folder in (mount / part for part in (below, *below.parents)):
            yield from _quota(folder)


def _quota(folder: Path) -> Iterator[float]:
    """CPUs of one control group, of version 2 (cpu.max) or 1 (cpu.cfs_quota_us)."""
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        if quota != "max" and int(quota) > 0:
            yield int(quota) / int(period)
    except (OSError, ValueError):
        return  # no limit here


@dataclass(frozen=True)
class Runtime:
    """The workplace of one stage run.

    Attributes:
        work: folder for partial work of exactly these params, inputs and code; kept when killed.
        cache: folder for content that any run may reuse; deleting it costs time alone.
        device: "auto", "cpu", "cuda" or "mps"; see `choose_device`.
        workers: processes or threads for input and output; see `default_workers`.
        sink: where curves and pictures go.
    """

    work: Path
    cache: Path
    device: str = "auto"
    workers: int = field(default_factory=default_workers)
    sink: Sink = field(default_factory=NoSink)


def choose_device(asked: str = "auto") -> str:
    """Return the torch device to use: BUCOLIC_DEVICE, else `asked`, else the best there is.

    The first choice of a process is logged, with a warning where an NVIDIA device goes unused.

    Raises:
        ParamsError: this machine has no such device.
    """
    import torch  # noqa: PLC0415 - heavy, and needed only by stages that compute

    asked = os.environ.get("BUCOLIC_DEVICE") or str(asked)  # torch.device is taken as well
    there = {"cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    there |= {"mps": int(torch.backends.mps.is_available()), "cpu": 1}
    named = [name for kind, count in there.items() for name in _names(kind, count)]
    chosen = named[0] if asked == "auto" else asked
    if chosen not in named:
        reason = _unused() if chosen.startswith("cuda") else ""
        raise ParamsError(
            f"device {asked!r} is not there{reason and f' ({reason})'}: "
            f"choose auto or one of {named}"
        )
    _say(chosen, _unused() if asked == "auto" and not there["cuda"] else "")
    return chosen


def _names(kind: str, count: int) -> list[str]:
    """What torch calls `count` devices of a kind."""
    return [kind, *(f"{kind}:{i}" for i in range(count))] if count else []


@functools.cache
def _say(device: str, unused: str) -> None:
    """Log the device, once a process."""
    import torch  # noqa: PLC0415 - the caller has imported it

    if unused:
        logger.warning("an NVIDIA device is there and is not used: %s", unused)
    kind = device.partition(":")[0]
    name = f" ({torch.cuda.get_device_name(device)})" if kind == "cuda" else ""
    threads = f" (threads: {torch.get_num_threads()})" if kind == "cpu" else ""
    logger.info("device: %s%s%s", device, name, threads)


def _unused() -> str:
    """Why torch cannot use the NVIDIA device that this machine has; "" where it has none."""
    import torch  # noqa: PLC0415 - the caller has imported it

    if not any(path.exists() for path in NVIDIA):
        return ""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a build with it"
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in {"", "-1"}:
        return f"CUDA_VISIBLE_DEVICES is {visible!r}, which hides it"
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]
    except (RuntimeError, AssertionError) as error:
        return " ".join(str(error).split())[:300]
    return "torch finds no device that is free"


def torch_threads() -> int | None:
    """Torch's number of threads, which a CPU's bytes depend on; None where nothing imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())

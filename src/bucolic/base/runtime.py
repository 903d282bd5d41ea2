"""What a stage is given besides its inputs: things that must not change a byte of its output.

Device, worker count and places come from flags and the environment, never from params.yaml. The
device is the one exception: it can change last bits, and the noise of training, which a CUDA device
draws itself. It is recorded wherever vectors are stored, and with what was trained.
"""

import math
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bucolic.base.control_groups import control_groups
from bucolic.base.engine import Engine, choose_engine
from bucolic.base.errors import ParamsError
from bucolic.base.report import NoSink, Sink


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
    quotas = (cpus for folder in control_groups("cpu") for cpus in _quota(folder))
    return max(1, min([allowed, *map(math.ceil, quotas)]))


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
        device: "auto", "cpu", "cuda" or "mps"; see base/device.py.
        workers: processes or threads for input and output; see `default_workers`.
        sink: where curves and pictures go.
        engine: where the items of images, embed and shard are worked on.
    """

    work: Path
    cache: Path
    device: str = "auto"
    workers: int = field(default_factory=default_workers)
    sink: Sink = field(default_factory=NoSink)
    engine: Engine = field(default_factory=choose_engine)


def torch_threads() -> int | None:
    """Torch's number of threads, which a CPU's bytes depend on; None where nothing imported it."""
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())

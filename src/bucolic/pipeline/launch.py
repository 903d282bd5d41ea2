"""A stage that several CUDA devices can share starts itself again under torchrun, once for each.

`cmd` in dvc.yaml stays what it is, and so do exit codes and the one line that an error ends in:
torchrun's agent is called as a library here, since its command ends in a traceback of its own.
BUCOLIC_PROCESSES asks for another number of processes, on a CPU, too.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from bucolic.base.errors import ParamsError
from bucolic.base.runtime import usable_cpus
from bucolic.base.signals import heard, let_through
from bucolic.base.torchrun import started_by_torchrun
from bucolic.pipeline.params import Params, load_params
from bucolic.pipeline.table import Declared


def run_in_processes(stage: Declared, root: Path) -> int | None:
    """Run a stage's verb in as many processes as can share it.

    Returns:
        The exit code of the process that ended first with an error, else 0; None, and nothing was
        run, where a single process is right: this one.

    Raises:
        ParamsError: BUCOLIC_PROCESSES or params.yaml is not valid.
    """
    if not stage.shareable_by or started_by_torchrun():
        return None
    count = _asked() or _shareable(stage, load_params(root))
    return None if count == 1 else _launch(stage.name, count)


def _asked() -> int | None:
    """BUCOLIC_PROCESSES, where it is set.

    Raises:
        ParamsError: it is no whole number from 1.
    """
    asked = os.environ.get("BUCOLIC_PROCESSES", "").strip()
    if not asked:
        return None
    if not re.fullmatch("[1-9][0-9]{0,2}", asked):
        raise ParamsError(f"BUCOLIC_PROCESSES is {asked!r}: set a whole number from 1 to 999")
    return int(asked)


def _shareable(stage: Declared, params: Params) -> int:
    """CUDA devices that can share the stage's work; 1 where one is asked for, or none is there."""
    if os.environ.get("BUCOLIC_DEVICE", "") not in {"", "auto", "cuda"}:
        return 1
    import torch  # noqa: PLC0415 - only a stage that computes with it comes here

    devices = torch.cuda.device_count()
    return stage.processes(params, devices) if devices > 1 else 1


def _launch(verb: str, count: int) -> int:
    """Start a verb `count` times, wait for all; one that fails ends the others."""
    from torch.distributed.elastic.multiprocessing import (  # noqa: PLC0415 - see `_shareable`
        DefaultLogsSpecs,
        SignalException,
    )
    from torch.distributed.elastic.multiprocessing.errors import (  # noqa: PLC0415
        ChildFailedError,
    )
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cpus() // count)))
    with tempfile.TemporaryDirectory() as logs:
        config = LaunchConfig(
            min_nodes=1,
            max_nodes=1,
            nproc_per_node=count,
            run_id=f"bucolic-{os.getpid()}",
            rdzv_backend="c10d",
            rdzv_endpoint="localhost:0",
            local_addr="localhost",
            max_restarts=0,
            logs_specs=DefaultLogsSpecs(log_dir=logs),
            signals_to_handle=",".join(number.name for number in heard()),
        )
        let_through()  # the agent hands them on
        try:
            elastic_launch(config, sys.executable)("-m", "bucolic.cli", verb)
        except ChildFailedError as failed:
            code = failed.get_first_failure()[1].exitcode
            return code if code > 0 else 128 - code
        except SignalException as ended:
            return 128 + ended.sigval
    return 0

"""A stage that several CUDA devices can share starts itself again under torchrun, once for each.

`cmd` in dvc.yaml stays what it is, and so do exit codes and the one line that an error ends in:
torchrun's agent is called as a library here, since its command ends in a traceback of its own.
BUCOLIC_PROCESSES asks for another number of processes, on a CPU, too.
"""

import logging
import os
import re
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bucolic.base.errors import BucolicError, ParamsError
from bucolic.base.lock import holding
from bucolic.base.runtime import usable_cpus
from bucolic.base.signals import heard, let_through
from bucolic.base.torchrun import LAUNCHER, started_by_torchrun
from bucolic.pipeline import kept
from bucolic.pipeline.digests import Digests
from bucolic.pipeline.execute import lock_of, prepare
from bucolic.pipeline.graph import find_stage
from bucolic.pipeline.params import Params, load_params
from bucolic.pipeline.table import Declared

LOOK_EVERY_S = 0.05


def run_in_processes(stage: Declared, root: Path, code: Digests) -> int | None:
    """Run a stage's verb in as many processes as can share it.

    Returns:
        The exit code of the process that ended first with an error, else 0; None, and nothing was
        run, where a single process is right: this one.

    Raises:
        ParamsError: BUCOLIC_PROCESSES or params.yaml is not valid.
    """
    if not stage.shareable_by or started_by_torchrun():
        return None
    asked, devices = _asked(), _devices()
    if asked and 0 < devices < asked:
        raise ParamsError(f"BUCOLIC_PROCESSES is {asked}, of CUDA devices there are {devices}")
    if (asked or devices) < 2:
        return None
    params = load_params(root)
    count = asked or stage.processes(params, devices)
    if count == 1 or not _must_be_made(stage.name, root, params, code):
        return None
    return _launch(stage.name, count)


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


def _devices() -> int:
    """CUDA devices that may be used: 1 where one is named, 0 where none is there or asked for."""
    device = os.environ.get("BUCOLIC_DEVICE") or "auto"
    if device not in {"auto", "cuda"}:
        return int(device.startswith("cuda"))
    import torch  # noqa: PLC0415 - only a stage that computes with it comes here

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _must_be_made(name: str, root: Path, params: Params, code: Digests) -> bool:
    """Whether there is work to share: a single process says that there is none, or why not now."""
    try:
        execution = prepare(find_stage(root, name), root, params, code)
        with holding(lock_of(root, name)):
            kept.forget_committed(execution.shelf)
            return not kept.find_finished(execution.shelf, name, execution.fingerprint)
    except BucolicError:
        return False


def _launch(verb: str, count: int) -> int:
    """Start a verb `count` times, wait for all; one that fails ends the others."""
    from torch.distributed.elastic.multiprocessing import (  # noqa: PLC0415 - see `_devices`
        DefaultLogsSpecs,
        SignalException,
    )
    from torch.distributed.elastic.multiprocessing.errors import (  # noqa: PLC0415
        ChildFailedError,
    )
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch  # noqa: PLC0415

    os.environ[LAUNCHER] = str(os.getpid())
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, usable_cpus() // count)))
    with tempfile.TemporaryDirectory() as logs, _handing_on_signals(count), _torch_silent():
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
        try:
            elastic_launch(config, sys.executable)("-m", "bucolic.cli", verb)
        except ChildFailedError as failed:
            code = failed.get_first_failure()[1].exitcode
            return code if code > 0 else 128 - code
        except SignalException as ended:
            return 128 + ended.sigval
    return 0


@contextmanager
def _handing_on_signals(count: int) -> Iterator[None]:
    """Let signals wait until there are processes to hand them on to, which the agent then does.

    Signals wait in the main thread from the verb's beginning, and so in the processes that it
    starts, each until it can leave a record. A thread that lets them through is enough for Python
    to run the agent's handler in the main thread.
    """
    former = {number: signal.getsignal(number) for number in heard()}

    def listen() -> None:
        this = psutil.Process()
        while len(this.children()) < count or any(
            signal.getsignal(number) is handler for number, handler in former.items()
        ):
            time.sleep(LOOK_EVERY_S)
        let_through()
        threading.Event().wait()

    threading.Thread(target=listen, daemon=True).start()
    yield


@contextmanager
def _torch_silent() -> Iterator[None]:
    """No word of torchrun's agent, which has its own on every process that fails or is ended."""
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)

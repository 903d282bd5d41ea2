"""One command as a process group: its lines handed on as they come, the whole group ended with it.

`dvc repro` starts a shell, which starts the stage, which may start workers of its own. Ending DVC
alone leaves all of them running, hence a session and a group for every command.
"""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bucolic.pipeline.environment import child_environment

GRACE_S = 10.0
MARK = "BUCOLIC_STARTED_BY"  # in the environment of all that is to end with its starter


def stream(
    command: Sequence[str],
    folder: Path,
    on_line: Callable[[str], None],
    extra: Mapping[str, str] | None = None,
) -> int:
    """Run `command` in `folder`, hand each line of its output to `on_line`, return its exit code.

    Whatever ends the wait (an exception of `on_line`, a cancelled flow, Ctrl-C) ends the command's
    whole process group first: SIGTERM, then SIGKILL after 10 s.
    """
    with process_group(command, folder, extra) as child:
        assert child.stdout is not None
        for line in child.stdout:
            on_line(line.rstrip())
        return child.wait()


@contextmanager
def process_group(
    command: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Start `command` as the leader of a new group, which does not outlive the block."""
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=child_environment(extra),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield child
    finally:
        end_group(child)


def end_group(child: subprocess.Popen[str]) -> None:
    """End a process group: SIGTERM, 10 s for the leader to go, then SIGKILL for all."""
    if child.poll() is None:
        _signal(child.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            child.wait(GRACE_S)
    _signal(child.pid, signal.SIGKILL)
    child.wait()


def end_tree(child: subprocess.Popen[str]) -> None:
    """End a process and all its descendants, those that have moved to other groups included.

    Prefect's worker gives each flow run a session of its own, and a flow run does so for each
    stage: a signal to the worker's group would reach none of them.
    """
    with suppress(psutil.NoSuchProcess):
        leader = psutil.Process(child.pid)
        _end([leader, *leader.children(recursive=True)])
    end_group(child)


def end_marked(mark: str) -> int:
    """End the processes that have `MARK` of this value, whoever their parent is; how many.

    What a killed process had started is nobody's descendant any more: no other sign tells it.
    """
    marked = [process for process in psutil.process_iter() if _mark_of(process) == mark]
    _end(marked)
    return len(marked)


def _mark_of(process: psutil.Process) -> str | None:
    try:
        value: str | None = process.environ().get(MARK)
    except (psutil.Error, OSError):  # gone meanwhile, or another user's
        return None
    return value


def _end(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.terminate()
    for process in psutil.wait_procs(processes, GRACE_S)[1]:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _signal(group: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)

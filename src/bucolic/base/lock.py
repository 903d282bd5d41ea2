"""Locks between processes, which a killed one cannot leave behind."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bucolic.base.errors import TransientError

logger = logging.getLogger(__name__)


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the lock `path` for the block; the kernel frees it when the process ends, however.

    Raises:
        TransientError: another process holds it; the message names its pid and host.
    """
    try:
        held = _lock(path).acquire(blocking=False)
    except Timeout:
        holder = path.read_text().strip() or "unknown"
        raise TransientError(
            f"{path.stem} is running already as process {holder}: wait for it, or stop it"
        ) from None
    with held:
        _sign(path)
        yield


@contextmanager
def waiting_for(path: Path, why: str = "") -> Iterator[None]:
    """Hold the lock `path` for the block, after whoever holds it now; `why` is logged meanwhile."""
    lock = _lock(path)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        if why:
            logger.info("%s", why)
        held = lock.acquire()
    with held:
        _sign(path)
        yield


def _lock(path: Path) -> FileLock:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the kernel's locks filelock would take the file itself for one: it outlives a kill.
    return FileLock(path, fallback_to_soft=False)


def _sign(path: Path) -> None:
    path.write_text(f"{os.getpid()} on {socket.gethostname()}")

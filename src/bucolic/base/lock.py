"""Locks between processes, which a killed one cannot leave behind."""

import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bucolic.base.errors import TransientError

logger = logging.getLogger(__name__)


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold the lock `path` for the block; the kernel frees it when the process ends, however.

    Raises:
        TransientError: another process holds it; the message names its pid and host.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise TransientError(
                f"{path.stem} is running already as process {holder}: wait for it, or stop it"
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()} on {socket.gethostname()}")
        file.flush()
        yield


@contextmanager
def waiting_for(path: Path, why: str = "") -> Iterator[None]:
    """Hold the lock `path` for the block, after whoever holds it now; `why` is logged meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if why:
                logger.info("%s", why)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

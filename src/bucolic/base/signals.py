"""Being asked to end: SIGINT, SIGTERM and SIGHUP as an exception that leaves time to say so."""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

import psutil  # type: ignore[import-untyped]

from bucolic.base.torchrun import launcher

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOK_EVERY_S, LAST_WORDS_S, LEADER_S = 0.5, 10.0, 60.0


class Ended(BaseException):
    """A signal asked this process to end.

    Like KeyboardInterrupt it is no Exception: a decoder's `except Exception` must not take it for
    a broken image.
    """

    kind = "ended"
    retryable = False

    def __init__(self, number: int) -> None:
        super().__init__(f"ended by {signal.Signals(number).name}")
        self.exit_code = 128 + number


@contextmanager
def raising_ended(*, once: bool = False) -> Iterator[None]:
    """Within the block, a signal that asks for the end raises Ended in the main thread.

    One that was ignored when the block began, as nohup has SIGHUP, is ignored on.

    Args:
        once: only the first does; what is put in order at the end of the block is not interrupted.
    """

    def end(number: int, _frame: FrameType | None) -> None:
        if once:
            hear_no_more()
        raise Ended(number)

    former = {number: signal.getsignal(number) for number in heard()}
    for number in former:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def heard() -> list[signal.Signals]:
    """The signals that ask for the end and are not ignored."""
    return [number for number in ASKING if signal.getsignal(number) != signal.SIG_IGN]


def hold_back() -> None:
    """Let signals that ask for the end wait until `let_through`: a stage's record must exist."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)


def let_through() -> None:
    """Take the signals that waited, and all that come."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKING)


@contextmanager
def held_back() -> Iterator[None]:
    """Let signals that ask for the end wait until the block ends.

    A process that is started within begins with them waiting, until it has said what to do.
    """
    former = signal.pthread_sigmask(signal.SIG_BLOCK, ASKING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


def follow_parent() -> None:
    """In a process that multiprocessing started: leave Ctrl-C to the parent, and end with it.

    Ctrl-C reaches a whole process group, of which the parent alone says so. A parent that is killed
    ends nobody: its children would wait for work for ever.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    let_through()
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def follow_launcher() -> None:
    """In a process that torchrun started: end as by SIGTERM once its launcher is gone.

    A launcher that is killed ends nobody either, and its processes would train on.
    """
    with held_back():  # or the thread would take signals that the main thread lets wait
        threading.Thread(target=_end_with_launcher, args=(launcher(),), daemon=True).start()


def _end_with_launcher(number: int) -> None:
    while os.getppid() == number:
        time.sleep(LOOK_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(LAST_WORDS_S)  # a process that waits for another on a device hears nothing
    os._exit(128 + signal.SIGTERM)


def wait_to_be_ended() -> None:
    """Give the process that leads the time to fail first, and to end this one with its own word.

    What fails in one process fails in most, and the first to end decides how all are seen to.
    """
    time.sleep(LEADER_S)


def hear_no_more() -> None:
    """Ignore further signals: what is left to be said and put away must not be interrupted."""
    for number in ASKING:
        signal.signal(number, signal.SIG_IGN)


def hear_again() -> None:
    """End by signals as any program does, whatever the process that started this one ignored."""
    for number in ASKING:
        signal.signal(number, signal.SIG_DFL)
    let_through()


def end_at_once(exit_code: int) -> NoReturn:
    """End this process and its children without waiting for threads amid their transfers.

    Children of another process group were sent off to outlive it.
    """
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(child.pid) == os.getpgrp():
                child.kill()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)

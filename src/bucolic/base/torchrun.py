"""What torchrun tells the processes that it starts: which of how many this one is."""

import os

LAUNCHER = "BUCOLIC_LAUNCHER"  # holds the number of the process that called torchrun's agent


def rank() -> int:
    """This process's number, from 0; 0 where torchrun started none."""
    return int(os.environ.get("RANK", "0"))


def leads() -> bool:
    """Whether this is the process that writes and speaks."""
    return rank() == 0


def processes() -> int:
    """How many processes work on the same thing; 1 where torchrun started none."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def processes_here() -> int:
    """How many of them are on this machine; 1 where torchrun started none."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def started_by_torchrun() -> bool:
    """Whether this is one of torchrun's processes, were it the only one."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launcher() -> int:
    """The process that started this one."""
    return int(os.environ.get(LAUNCHER) or os.getppid())

"""What a stage is given besides its inputs: things that must not change a byte of its output.

Device, worker count and places come from flags and the environment, never from params.yaml. The
device is the one exception that can change last bits; it is recorded wherever vectors are stored.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from bucolic.errors import ParamsError
from bucolic.report import NoSink, Sink


@dataclass(frozen=True)
class Runtime:
    """The workplace of one stage run.

    Attributes:
        work: folder for partial work of exactly these params, inputs and code; kept when killed.
        cache: folder for content that any run may reuse; deleting it costs time alone.
        device: "auto", "cpu", "cuda" or "mps"; see `choose_device`.
        workers: processes or threads for input and output.
        sink: where curves and pictures go.
    """

    work: Path
    cache: Path
    device: str = "auto"
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)
    sink: Sink = field(default_factory=NoSink)


def choose_device(asked: str = "auto") -> str:
    """Return the torch device to use: BUCOLIC_DEVICE, else `asked`, else the best there is.

    Raises:
        ParamsError: this machine has no such device.
    """
    import torch  # noqa: PLC0415 - heavy, and needed only by stages that compute

    asked = os.environ.get("BUCOLIC_DEVICE", str(asked))  # torch.device is taken as well
    there = {"cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0}
    there |= {"mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if asked == "auto":
        return next(kind for kind, count in there.items() if count)
    named = [name for kind, count in there.items() for name in _names(kind, count)]
    if asked not in named:
        raise ParamsError(f"device {asked!r} is not there: choose auto or one of {named}")
    return asked


def _names(kind: str, count: int) -> list[str]:
    """What torch calls `count` devices of a kind."""
    return [kind, *(f"{kind}:{i}" for i in range(count))] if count else []

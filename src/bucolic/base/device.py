"""Which torch device computes, and in which arithmetic; said once, also where one goes unused."""

import functools
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bucolic.base.errors import ParamsError

logger = logging.getLogger(__name__)
NVIDIA = (Path("/proc/driver/nvidia/version"), Path("/dev/nvidia0"), Path("/dev/nvidiactl"))


def choose_device(asked: str = "auto") -> str:
    """Return the torch device to use: BUCOLIC_DEVICE, else `asked`, else the best there is.

    The first choice of a process is logged, with a warning where an NVIDIA device goes unused.

    Raises:
        ParamsError: this machine has no such device.
    """
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


def choose_precision(asked: str, device: str) -> str:
    """Return "fp32", "tf32" or "bf16": what is asked for, or, for "auto", what suits a device.

    bf16 is taken where it is computed natively and many times faster: by NVIDIA's tensor cores from
    compute capability 8.0, and by the matrix tiles (AMX) of a CPU. tf32 is CUDA's alone; elsewhere
    what it stands for is computed in fp32.
    """
    if asked == "tf32":
        return "tf32" if device.startswith("cuda") else "fp32"
    if asked != "auto":
        return asked
    return "bf16" if _computes_bf16(device.partition(":")[0]) else "fp32"


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Within the block a CUDA device computes products of float32 in full, or as "tf32".

    Left alone, torch computes matrix products in full and convolutions in tf32.
    """
    asked = precision == "tf32"
    places: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    former = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = asked
        yield
    finally:
        for place, allowed in zip(places, former, strict=True):
            place.allow_tf32 = allowed


def _computes_bf16(kind: str) -> bool:
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return kind == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))


def _names(kind: str, count: int) -> list[str]:
    """What torch calls `count` devices of a kind."""
    return [kind, *(f"{kind}:{i}" for i in range(count))] if count else []


@functools.cache
def _say(device: str, unused: str) -> None:
    """Log the device, once a process."""
    if unused:
        logger.warning("an NVIDIA device is there and is not used: %s", unused)
    kind = device.partition(":")[0]
    name = f" ({torch.cuda.get_device_name(device)})" if kind == "cuda" else ""
    threads = f" (threads: {torch.get_num_threads()})" if kind == "cpu" else ""
    logger.info("device: %s%s%s", device, name, threads)


def _unused() -> str:
    """Why torch cannot use the NVIDIA device that this machine has; "" where it has none."""
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

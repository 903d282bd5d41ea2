"""Random numbers as a function of (seed, what for, images seen): a resumed run draws the same ones.

Everything is drawn for the whole batch, whatever the number of processes; each process takes its
share. Training's noise is drawn where `drawing_device` says, the order of rows and what validation
needs on the CPU.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from bucolic.models.model import picture_seed


def drawing_device(device: str | torch.device) -> str:
    """Where noise for a training device is drawn: on a CUDA device itself, which would wait for it.

    Its numbers are others than the CPU's, as are the last bits of all that it computes.
    """
    named = torch.device(device)
    return str(named) if named.type == "cuda" else "cpu"


def generator(seed: int, *place: int | str, device: str = "cpu") -> torch.Generator:
    """A generator for one purpose, independent of every other purpose's."""
    return torch.Generator(device).manual_seed(picture_seed(seed, *place))


def rows_at(seed: int, purpose: str, *, rows: int, start: int, count: int) -> Tensor:
    """Rows `start` to `start + count` of an endless stream of shuffled passes: int64 [count].

    Each pass over `rows` rows visits every row once, in an order of its own.
    """
    passes = _passes(seed, purpose, rows, start // rows, (start + count - 1) // rows)
    offset = start % rows
    return torch.cat(list(passes))[offset : offset + count]


def _passes(seed: int, purpose: str, rows: int, first: int, last: int) -> Iterator[Tensor]:
    for number in range(first, last + 1):
        yield torch.randperm(rows, generator=generator(seed, purpose, "pass", number))

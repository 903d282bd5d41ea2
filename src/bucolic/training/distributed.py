"""Several processes on one batch, started by torchrun; a single process needs none of it.

Each process takes its share of the same batch, gradients are averaged by DistributedDataParallel,
and process 0 alone writes. The weights stay equal on all of them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from bucolic.base.torchrun import processes, rank


@dataclass(frozen=True)
class World:
    """This process among all: its rank, and how many there are."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and speaks."""
        return self.rank == 0

    def wrap(self, objective: nn.Module) -> nn.Module:
        """The objective, with gradients averaged over all processes."""
        if self.size == 1:
            return objective
        return DistributedDataParallel(objective, broadcast_buffers=False)

    def mean(self, value: Tensor) -> Tensor:
        """The average of a tensor over all processes."""
        if self.size > 1:
            distributed.all_reduce(value)
            value = value / self.size
        return value

    def wait(self) -> None:
        """Return once every process has got here."""
        if self.size > 1:
            distributed.barrier()


@contextmanager
def joined(device: str) -> Iterator[World]:
    """Join the processes that torchrun started, as its environment variables say."""
    if processes() == 1:
        yield World()
        return
    if device == "cuda":
        place = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(place)
        distributed.init_process_group("nccl", device_id=place)
    else:
        distributed.init_process_group("gloo")
    yield World(rank(), processes())
    # Not after an error: to take the group down is to wait for what the others will not send.
    distributed.destroy_process_group()

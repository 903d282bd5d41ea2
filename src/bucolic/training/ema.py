"""A running average of a network's weights, which samples better than the weights themselves."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DECAY = 0.999


def averaged(network: nn.Module, *, updates: int = 0, decay: float = DECAY) -> AveragedModel:
    """An exponential moving average of `network` that takes no gradient.

    Its decay warms up, (1 + updates) / (10 + updates), to `decay`: a short run, too, forgets where
    it began. Only parameters are averaged; running statistics are those of the network.

    Args:
        network: what is averaged, as it is now.
        updates: steps that its optimiser has made.
        decay: of a long run; 0 makes it the network's weights themselves.
    """
    average = AveragedModel(network, multi_avg_fn=functools.partial(_move_towards, decay))
    average.requires_grad_(requires_grad=False).eval()
    average.n_averaged.fill_(1 + updates)  # at 0 torch would take the first weights as they come
    return average


@torch.no_grad()
def _move_towards(decay: float, averages: Any, weights: Any, n_averaged: Tensor | int) -> None:
    updates = int(n_averaged) - 1
    torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + updates) / (10 + updates)))

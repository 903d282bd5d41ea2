"""A running average of a network's weights, which samples better than the weights themselves."""

import copy
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class Average(Generic[Network]):
    """Exponential moving average with warm-up.

    The decay is min(decay, (1 + updates) / (10 + updates)): a short run, too, forgets where it
    began. Only parameters are averaged; the networks trained here keep no running statistics.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network = copy.deepcopy(network).requires_grad_(requires_grad=False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, network: Network, updates: int) -> None:
        """Move towards `network`, whose optimiser has made `updates` steps before this one."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        pairs = zip(self.network.parameters(), network.parameters(), strict=True)
        for average, parameter in pairs:
            average.lerp_(parameter, 1 - decay)

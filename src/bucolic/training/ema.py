"""A running average of a network's weights, which samples better than the weights themselves."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

DECAY = 0.999


class RunningAverage(AveragedModel):
    """An exponential moving average of a network's parameters that takes no gradient.

    Its decay warms up, (1 + updates) / (10 + updates), to `decay`: a short run, too, forgets where
    it began. Running statistics are those of the network. Updates are counted here and not in
    torch's tensor, which would have to be fetched from the device at each.

    Args:
        network: what is averaged, as it is now.
        updates: steps that its optimiser has made.
        decay: of a long run; 0 makes it the network's weights themselves.
    """

    def __init__(self, network: nn.Module, *, updates: int = 0, decay: float = DECAY) -> None:
        super().__init__(network, multi_avg_fn=self._move_towards)
        self.requires_grad_(requires_grad=False).eval()
        self.n_averaged.fill_(1)  # at 0 torch would take the first weights as they come
        self.updates, self.decay = updates, decay

    def update_parameters(self, model: nn.Module) -> None:
        """Move towards the network's weights."""
        super().update_parameters(model)
        self.updates += 1

    @torch.no_grad()
    def _move_towards(self, averages: Any, weights: Any, n_averaged: Tensor | int) -> None:  # noqa: ARG002
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_(averages, weights, 1 - decay)

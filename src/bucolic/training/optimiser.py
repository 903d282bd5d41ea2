"""Muon for large matrices and kernels, AdamW for all other parameters.

AdamW's steps are large along a few directions of a matrix and next to nothing along most of them.
Muon (Jordan 2024, https://kellerjordan.github.io/posts/muon/) makes them equally large along all:
the momentum's singular values are set to about 1. Each update is scaled to the size that AdamW's
have (Liu et al. 2025, arXiv 2502.16982, section 2.2), so that one learning rate serves both.

A convolution's kernel counts as the matrix [o, h w i]. torch.optim.Muon takes no kernels, and
computes in bfloat16, which most CPUs only emulate.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

BETA1 = 0.9
MOMENTUM = 0.95
ITERATIONS = 3  # 5, as usual, take longer, and no better model was seen: docs/experiments.md
QUINTIC = (3.4445, -4.7750, 2.0315)  # Jordan's: steepest at 0, its fixed points lie around 1
RMS_OF_ADAMW = 0.2
EPSILON = 1e-7
LEAST_SIDE = 32  # with fewer rows or columns there are few directions to tell apart


def optimisers(
    network: nn.Module, *, muon: bool, beta2: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Optimisers that hold each of the network's parameters once; all take the same rate.

    Weight decay is of weight matrices and kernels only.

    Args:
        network: what is trained.
        muon: whether matrices are Muon's; else all parameters are AdamW's.
        beta2: decay of AdamW's second moment.
        weight_decay: decoupled.
    """
    parameters = list(network.parameters())
    matrices = [p for p in parameters if muon and is_large_matrix(p)]
    taken = {id(p) for p in matrices}
    rest = [p for p in parameters if id(p) not in taken]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in rest if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in rest if p.ndim <= 1], "weight_decay": 0.0},
    ]
    found: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, betas=(BETA1, beta2), fused=True)
    ]
    return [*found, Muon(matrices, weight_decay=weight_decay)] if matrices else found


def is_large_matrix(parameter: Tensor) -> bool:
    """Whether it is a matrix [o, i] or a kernel [o, i, h, w] with two long sides."""
    return parameter.ndim in (2, 4) and min(len(parameter), parameter[0].numel()) >= LEAST_SIDE


class Muon(torch.optim.Optimizer):
    """Steps of equal size along all directions of a matrix; see the module.

    Args:
        matrices: parameters [o, i] or [o, i, h, w].
        lr: as for AdamW.
        momentum: decay of the gradients' running mean, which is Nesterov's.
        weight_decay: decoupled, as in AdamW.
    """

    def __init__(
        self,
        matrices: Iterable[Tensor],
        lr: float = 1e-3,
        momentum: float = MOMENTUM,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(matrices, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Make one step by the gradients that are there; those of one shape are taken at once."""
        assert closure is None, "Muon evaluates nothing again"
        for group in self.param_groups:
            for alike in _by_shape(group["params"]):
                momenta = [self._momentum(parameter, group["momentum"]) for parameter in alike]
                directions = orthogonalised(torch.stack([_flat(momentum) for momentum in momenta]))
                step_size = group["lr"] * RMS_OF_ADAMW * max(directions.shape[1:]) ** 0.5
                for parameter, direction in zip(alike, directions, strict=True):
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    parameter.sub_(_unflat(direction, parameter.shape), alpha=step_size)

    def _momentum(self, parameter: Tensor, decay: float) -> Tensor:
        """Nesterov's: the running mean of the gradients, once more towards the present one."""
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        mean: Tensor = state["momentum"].lerp_(gradient, 1 - decay)
        return gradient.lerp(mean, decay)


def orthogonalised(matrices: Tensor) -> Tensor:
    """Matrices [n, r, c] with their singular vectors kept, and their singular values near 1.

    Jordan's quintic Newton-Schulz iteration X <- a X + b (X X') X + c (X X')^2 X, worked out on
    the square of the shorter side alone: a kernel of 96 x 864 so takes half of the operations.

    Values above a 59th of the Frobenius norm end between 0.65 and 1.25, smaller ones below.
    """
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalised(matrices.mT).mT
    a, b, c = QUINTIC
    scaled = matrices / (matrices.norm(dim=(1, 2), keepdim=True) + EPSILON)
    gram = scaled @ scaled.mT
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    product = identity
    for _ in range(ITERATIONS):
        factor = a * identity + b * gram + c * (gram @ gram)
        product = factor @ product
        gram = factor @ gram @ factor
    found: Tensor = product @ scaled
    return found


def _by_shape(parameters: Iterable[Tensor]) -> Iterable[list[Tensor]]:
    """Those that have a gradient, in lists of one shape."""
    found: dict[torch.Size, list[Tensor]] = {}
    for parameter in parameters:
        if parameter.grad is not None:
            found.setdefault(parameter.shape, []).append(parameter)
    return found.values()


def _flat(weights: Tensor) -> Tensor:
    """[o, i, h, w] as [o, h w i], which copies nothing where channels come last in memory."""
    return weights.permute(0, 2, 3, 1).flatten(1) if weights.ndim == 4 else weights


def _unflat(matrix: Tensor, shape: torch.Size) -> Tensor:
    if len(shape) != 4:
        return matrix
    out, into, height, width = shape
    return matrix.reshape(out, height, width, into).permute(0, 3, 1, 2)

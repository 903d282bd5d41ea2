"""Following a flow: from time 0 to 1 along a velocity field, in steps of equal length."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]


def follow(velocity: Velocity, start: Tensor, steps: int) -> Tensor:
    """The point at time 1 of the path that begins at `start` at time 0.

    Two-step Adams-Bashforth, whose first step is Heun's: of second order, like Heun's method, at
    one evaluation of the velocity a step in place of two (Hairer, Norsett and Wanner, Solving
    Ordinary Differential Equations I, III.1).

    Args:
        velocity: of points [b, ...] at a time, of the same shape.
        start: [b, ...].
        steps: number of steps; the velocity is asked for steps + 1 times.
    """
    length = 1 / steps
    former = velocity(start, 0.0)
    points = start + 0.5 * length * (former + velocity(start + length * former, length))
    for step in range(1, steps):
        now = velocity(points, step * length)
        points = points + length * (1.5 * now - 0.5 * former)
        former = now
    return points


def log_likelihood(velocity: Velocity, ends: Tensor, probes: Tensor, steps: int) -> Tensor:
    """Log density in nats that the flow gives to points at time 1, noise being standard normal.

    By the instantaneous change of variables, log p(x at 1) = log N(x at 0) - integral of div v
    (Chen et al. 2018, arXiv 1806.07366), with Hutchinson's estimate of the divergence (Grathwohl et
    al. 2019, arXiv 1810.01367).

    Args:
        velocity: of points [b, ...] at a time, differentiable.
        ends: [b, ...].
        probes: of the same shape, each value -1 or 1.
        steps: of the way back; see `follow`.

    Returns:
        [b].
    """
    rows, shape = len(ends), ends.shape

    def backwards(state: Tensor, passed: float) -> Tensor:
        points = state[:, :-1].reshape(shape).detach().requires_grad_()
        with torch.enable_grad():
            forwards = velocity(points, 1 - passed)
            (pulled,) = torch.autograd.grad((forwards * probes).sum(), points)
        divergence = (pulled * probes).flatten(1).sum(1, keepdim=True)
        return torch.cat([-forwards.detach().flatten(1), divergence], dim=1)

    start = torch.cat([ends.flatten(1), ends.new_zeros(rows, 1)], dim=1)
    state = follow(backwards, start, steps)
    noise, divergences = state[:, :-1], state[:, -1]
    normal = -0.5 * (noise.square() + math.log(2 * math.pi)).sum(1)
    return normal - divergences

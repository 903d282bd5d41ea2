import math

import pytest
import torch
from torch import Tensor

from bucolic.models.flow import follow, log_likelihood


def curved(points: Tensor, time: float) -> Tensor:
    """A field whose paths are x(t) = x(0) exp(sin(2 t)): curved in time and in space."""
    return points * 2 * math.cos(2 * time)


def error(steps: int) -> float:
    """How far from the true end of the path."""
    start = torch.tensor([[1.0], [-2.0]], dtype=torch.float64)
    return float((follow(curved, start, steps) - start * math.exp(math.sin(2.0))).abs().max())


@pytest.mark.parametrize("steps", [32, 64, 128])
def test_twice_the_steps_make_a_quarter_of_the_error(steps: int):
    """Second order: the ratio of errors on a curved field comes to 4."""
    assert error(steps) / error(2 * steps) == pytest.approx(4, rel=0.03)


def test_a_straight_path_is_followed_exactly_in_one_step():
    """A constant velocity leads to the end whatever the number of steps."""
    start = torch.zeros(3, 2)
    for steps in (1, 2, 7):
        end = follow(lambda points, _: torch.ones_like(points), start, steps)
        torch.testing.assert_close(end, torch.ones(3, 2))


@pytest.mark.parametrize("steps", [1, 4])
def test_each_step_asks_for_one_velocity_and_the_first_for_two(steps: int):
    """At the times where the path is, and nowhere beyond its end."""
    asked: list[float] = []

    def velocity(points: Tensor, time: float) -> Tensor:
        asked.append(time)
        return torch.zeros_like(points)

    follow(velocity, torch.zeros(1), steps)
    assert asked == [0.0, 1 / steps, *(step / steps for step in range(1, steps))]


def test_the_likelihood_is_that_of_a_gaussian_where_the_flow_ends_in_one():
    """The exact velocity from N(0, 1) to N(2, 0.5^2): densities of five points in 3 dimensions."""
    mean, spread = 2.0, 0.5

    def velocity(points: Tensor, time: float) -> Tensor:
        variance = (1 - time) ** 2 + (time * spread) ** 2
        return mean + (time * spread**2 - (1 - time)) / variance * (points - time * mean)

    torch.manual_seed(0)
    ends = mean + spread * torch.randn(5, 3, dtype=torch.float64)
    probes = torch.ones_like(ends)
    expected = torch.distributions.Normal(mean, spread).log_prob(ends).sum(1)
    found = log_likelihood(velocity, ends, probes, steps=128)
    torch.testing.assert_close(found, expected, atol=2e-3, rtol=0)


def test_the_divergence_is_estimated_without_bias():
    """A velocity that mixes dimensions: over many probes the likelihood is the linear map's."""
    matrix = torch.tensor([[0.3, 0.8], [-0.5, 0.1]], dtype=torch.float64)
    ends = torch.tensor([[0.4, -0.7]], dtype=torch.float64).expand(4000, 2)
    signs = torch.randint(0, 2, ends.shape, generator=torch.Generator().manual_seed(0))
    found = log_likelihood(lambda x, _: x @ matrix.T, ends, 2.0 * signs - 1, steps=64)
    start = torch.linalg.matrix_exp(-matrix) @ ends[0]
    expected = torch.distributions.Normal(0, 1).log_prob(start).sum() - matrix.trace()
    assert float(found.mean()) == pytest.approx(float(expected), abs=0.02)

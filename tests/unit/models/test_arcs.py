"""Ways between conditions on their sphere."""

import math

import pytest
import torch
from torch import Tensor

from bucolic.base.errors import ParamsError
from bucolic.models.arcs import slerp

SHARES = torch.tensor([0.0, 0.1, 0.5, 0.9, 1.0])


def _conditions(number: int) -> Tensor:
    """On the sphere of radius sqrt(16), as the model's own."""
    torch.manual_seed(0)
    return 4 * torch.nn.functional.normalize(torch.randn(number, 16))


def _angles(points: Tensor, other: Tensor) -> Tensor:
    cosines = torch.nn.functional.cosine_similarity(points.double(), other.double())
    return cosines.clamp(-1, 1).acos()


def test_the_direction_turns_at_an_even_rate_on_the_sphere():
    """At a share of the way that share of the angle is behind, and the radius is the ends'."""
    first, last = (end.expand(5, -1) for end in _conditions(2))

    points = slerp(first, last, SHARES)

    whole = _angles(first, last)
    torch.testing.assert_close(_angles(first, points), SHARES * whole, atol=2e-3, rtol=0)
    torch.testing.assert_close(_angles(points, last), (1 - SHARES) * whole, atol=2e-3, rtol=0)
    torch.testing.assert_close(points.norm(dim=1), torch.full((5,), 4.0))
    torch.testing.assert_close(points[0], first[0])
    torch.testing.assert_close(points[-1], last[0])


def test_halfway_between_axes_lies_their_diagonal():
    """By hand: (1, 0) and (0, 1) meet at (1, 1) / sqrt(2), at a third of the way at 30 degrees."""
    axes = torch.eye(2)
    points = slerp(axes[[0, 0]], axes[[1, 1]], torch.tensor([0.5, 1 / 3]))

    expected = torch.tensor([[0.5**0.5, 0.5**0.5], [math.cos(math.pi / 6), 0.5]])
    torch.testing.assert_close(points, expected)


def test_from_a_point_to_itself_there_is_no_way():
    """Equal ends, and ends that differ in float32's last digits, give the point back."""
    first = _conditions(1).expand(5, -1)

    torch.testing.assert_close(slerp(first, first, SHARES), first)
    aside = torch.nn.functional.normalize(torch.eye(16)[:1] - first[:1] * first[0, 0] / 16)
    for angle in (0.5e-4, 2e-4):  # either side of where the arc counts as straight
        last = first + 4 * angle * aside
        straight = first + SHARES[:, None] * (last - first)
        torch.testing.assert_close(slerp(first, last, SHARES), straight, atol=1e-6, rtol=0)


def test_unequal_lengths_change_evenly():
    """Raw embeddings do not lie on one sphere: halfway the length is the mean of both."""
    first, last = _conditions(2)
    points = slerp(first[None], 3 * last[None], torch.tensor([0.5]))

    assert points.norm() == pytest.approx(8.0, rel=1e-5)


def test_opposites_are_refused():
    """Between them every way is as short as another."""
    first = _conditions(1)
    with pytest.raises(ParamsError, match="opposites"):
        slerp(first, -first, torch.tensor([0.5]))

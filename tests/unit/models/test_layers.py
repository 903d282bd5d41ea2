import pytest
import torch

from bucolic.models.layers import (
    ConditionEmbedding,
    Film,
    ResidualBlock,
    SelfAttention,
    group_norm,
)


def test_film_starts_as_plain_normalisation_and_learns_to_modulate():
    """The condition changes nothing at first, and scales and shifts once weights are not zero."""
    film, features, condition = Film(16, 8), torch.randn(4, 16, 5, 5), torch.randn(4, 8)
    assert torch.equal(film.norm(features), film(features, condition))

    torch.nn.init.constant_(film.project.bias, 2.0)

    expected = film.norm(features) * 3 + 2
    torch.testing.assert_close(expected, film(features, condition))


@pytest.mark.parametrize("condition_width", [None, 8])
def test_a_block_starts_as_the_identity(condition_width: int | None):
    """A new residual block passes its features on."""
    block = ResidualBlock(16, condition_width)
    condition = None if condition_width is None else torch.randn(2, condition_width)
    features = torch.randn(2, 16, 4, 4)

    assert torch.equal(features, block(features, condition))


def test_attention_lets_far_corners_talk():
    """Once its last layer is not zero, a change in one corner reaches the opposite one."""
    attention = SelfAttention(32)
    torch.nn.init.eye_(attention.out.weight[:, :, 0, 0])
    features = torch.randn(1, 32, 8, 8)
    changed = features.clone()
    changed[:, :, 0, 0] += 3

    difference = attention(changed) - attention(features)

    assert difference[:, :, 7, 7].abs().max() > 1e-4


def test_a_dropped_condition_has_no_say():
    """Rows marked as dropped give the same for any condition, the others do not."""
    embedding = ConditionEmbedding(8, 16)
    first, second = torch.randn(2, 8), torch.randn(2, 8)
    dropped = torch.tensor([True, False])

    one, other = embedding(first, dropped), embedding(second, dropped)

    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])


@pytest.mark.parametrize(("channels", "groups"), [(48, 6), (128, 16), (20, 2), (7, 1)])
def test_groups_divide_the_channels(channels: int, groups: int):
    """Any number of channels can be normalised, in groups of about eight."""
    assert groups == group_norm(channels).num_groups

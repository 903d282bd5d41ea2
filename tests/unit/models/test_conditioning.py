import math

import pytest
import torch

from bucolic.models.conditioning import Conditioning, Pairs
from bucolic.models.text_priors import mean_cosine

EMBED = 16


@pytest.fixture
def world() -> tuple[Pairs, Pairs]:
    """Train and val pairs: texts are rotated, shifted, noisy pictures; three texts a picture."""
    generator = torch.Generator().manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(EMBED, EMBED, generator=generator)).Q
    gap = 3 * torch.randn(EMBED, generator=generator)

    def pairs(count: int) -> Pairs:
        images = torch.randn(count, EMBED, generator=generator) + gap
        rows = torch.arange(count).repeat_interleave(3)
        noise = 0.3 * torch.randn(3 * count, EMBED, generator=generator)
        return Pairs(images, images[rows] @ rotation + noise - 2 * gap, rows)

    return pairs(300), pairs(50)


def test_conditions_lie_on_the_sphere_whatever_the_embedding_s_length(world: tuple[Pairs, Pairs]):
    """Conditions have length sqrt(e), and scaling a raw embedding changes nothing."""
    conditioning = Conditioning(EMBED)
    conditioning.fit(*world)

    for conditions in (
        conditioning.of_images(world[1].images),
        conditioning.of_texts(world[1].texts),
    ):
        torch.testing.assert_close(torch.full((len(conditions),), 4.0), conditions.norm(dim=1))
    torch.testing.assert_close(
        conditioning.of_images(world[1].images), conditioning.of_images(5 * world[1].images)
    )


def test_the_ridge_map_brings_texts_near_their_own_pictures(world: tuple[Pairs, Pairs]):
    """Held-out texts land nearer to their picture than by centring alone, and nearest to it."""
    train, val = world
    conditioning = Conditioning(EMBED)
    centred_only = Conditioning(EMBED)

    cosine = conditioning.fit(train, val)
    centred_only.image_mean.copy_(conditioning.image_mean)
    centred_only.text_mean.copy_(conditioning.text_mean)

    assert cosine > 0.9
    assert mean_cosine(centred_only.text_prior, centred_only.centred(val)) < 0.3
    similarity = conditioning.of_texts(val.texts) @ conditioning.of_images(val.images).T
    assert (similarity.argmax(1) == val.rows).float().mean() > 0.95


def test_each_modality_is_centred_with_its_own_mean(world: tuple[Pairs, Pairs]):
    """The mean of unit vectors is stored for pictures and for texts."""
    conditioning = Conditioning(EMBED)
    conditioning.fit(*world)

    for mean, vectors in (
        (conditioning.image_mean, world[0].images),
        (conditioning.text_mean, world[0].texts),
    ):
        torch.testing.assert_close((vectors / vectors.norm(dim=1, keepdim=True)).mean(0), mean)


def test_fewer_pictures_than_dimensions_are_enough():
    """A split of three pictures still gives a finite map."""
    torch.manual_seed(0)
    few = Pairs(torch.randn(3, EMBED), torch.randn(3, EMBED), torch.arange(3))
    conditioning = Conditioning(EMBED)

    cosine = conditioning.fit(few, few)

    assert math.isfinite(cosine)
    assert conditioning.text_prior.text_to_image.isfinite().all()

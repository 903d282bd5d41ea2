import copy

import numpy as np
import pytest
import torch
from torch.distributions import Normal

from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
from bucolic.models.cvae.model import Cvae
from bucolic.models.model import noise_of, picture_seed, to_uint8, to_unit


@pytest.fixture(scope="module")
def model() -> Cvae:
    """A small model with weights that let every input matter."""
    torch.manual_seed(0)
    made = Cvae(
        AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16), size_px=32, embed_dim=12
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return made.to(memory_format=torch.channels_last)


def test_a_picture_does_not_depend_on_its_company(model: Cvae):
    """The same condition and seed give the same bytes alone, among 20, and in any place."""
    conditions = torch.randn(20, 12)
    seeds = [picture_seed(0, i) for i in range(20)]

    together = model.draw(conditions, seeds, guidance=2.0, steps=3)
    alone = model.draw(conditions[17:18], seeds[17:18], guidance=2.0, steps=3)
    turned = model.draw(conditions.flip(0), seeds[::-1], guidance=2.0, steps=3)

    assert together.shape == (20, 3, 32, 32)
    assert together.dtype == torch.uint8
    assert torch.equal(together[17], alone[0])
    assert torch.equal(together, turned.flip(0))


def test_seed_and_condition_both_decide(model: Cvae):
    """Another seed, or another condition, gives another picture."""
    conditions = torch.randn(2, 12)

    one, other_seed, other_condition = model.draw(
        conditions[[0, 0, 1]], [1, 2, 1], guidance=1.0, steps=2
    )

    assert not torch.equal(one, other_seed)
    assert not torch.equal(one, other_condition)


def test_encoding_keeps_order_and_count(model: Cvae):
    """Rows come back in order through the padded batches."""
    pictures = torch.randint(0, 256, (18, 3, 32, 32), dtype=torch.uint8)

    latents = model.encode(pictures)
    last = model.encode(pictures[17:])

    assert latents.shape == (18, *model.noise_shape)
    assert torch.equal(latents[17:], last)
    assert model.decode(latents, torch.randn(18, 12)).shape == pictures.shape


def test_conditions_do_not_depend_on_their_company(model: Cvae):
    """A text's condition is the same alone and among others."""
    vectors = np.random.default_rng(0).normal(size=(40, 12)).astype(np.float32)

    together = model.conditions_of_texts(vectors)

    assert torch.equal(together[33:34], model.conditions_of_texts(vectors[33:34]))
    assert torch.equal(
        model.conditions_of_images(vectors)[5:6], model.conditions_of_images(vectors[5:6])
    )


def test_seeds_are_far_apart():
    """Neighbouring places get unrelated seeds, the same ones each time."""
    seeds = {picture_seed(seed, p, i) for seed in range(5) for p in range(5) for i in range(5)}

    assert len(seeds) == 125
    assert picture_seed(0, 1, 2) == picture_seed(0, 1, 2) < 2**63


def test_pixels_survive_the_way_to_the_unit_range_and_back():
    """All 256 values come back, and what lies outside is clamped."""
    values = torch.arange(256, dtype=torch.uint8)

    assert torch.equal(values, to_uint8(to_unit(values)))
    assert to_uint8(torch.tensor([-0.5, 1.5])).tolist() == [0, 255]


def test_the_parts_of_the_bound_are_those_of_its_formula(model: Cvae):
    """Posterior by hand; a flow that stands still is N(mean, std) of the latents' statistics."""
    torch.manual_seed(1)
    still = copy.deepcopy(model)
    torch.nn.init.zeros_(still.prior.network.head[-1].weight)
    torch.nn.init.zeros_(still.prior.network.head[-1].bias)
    still.autoencoder.set_sigma(torch.tensor(0.04))
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    conditions, seeds = torch.randn(3, 12), [4, 5, 6]
    still.prior.set_statistics(3 * still.encode(pictures) + 1)

    found = still.likelihood(pictures, conditions, seeds)

    with torch.no_grad():
        posterior = still.autoencoder.encoder(to_unit(pictures))
        noise = torch.stack([noise_of(seed, still.noise_shape) for seed in seeds])
        latents = posterior.sample(noise)
        kept = torch.zeros(3, dtype=torch.bool)
        means = still.autoencoder.decoder(latents, conditions, kept)
    sigma = (0.04 + 0.02**2) ** 0.5
    density = Normal(means, sigma).log_prob(to_unit(pictures)).flatten(1).sum(1)
    torch.testing.assert_close(found["reconstruction"], -density, rtol=1e-4, atol=1e-2)
    own = Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    prior = Normal(still.prior.latent_mean, still.prior.latent_std)
    gap = -own.entropy() - prior.log_prob(latents)
    expected = gap.flatten(1).sum(1)
    torch.testing.assert_close(found["kl_latent_prior"], expected, rtol=1e-4, atol=1e-2)
    standard = torch.distributions.kl_divergence(own, Normal(0.0, 1.0)).flatten(1).sum(1)
    torch.testing.assert_close(found["kl_standard_normal"], standard, rtol=1e-4, atol=1e-2)
    assert found["means"].shape == (3, 4 * 4 * 4)


def test_a_bound_does_not_depend_on_its_company(model: Cvae):
    """Whatever is drawn for its estimate comes from the picture's own seed."""
    pictures = torch.randint(0, 256, (18, 3, 32, 32), dtype=torch.uint8)
    conditions, seeds = torch.randn(18, 12), list(range(18))
    together = model.likelihood(pictures, conditions, seeds)
    alone = model.likelihood(pictures[17:], conditions[17:], seeds[17:])
    for name, part in together.items():
        torch.testing.assert_close(part[17:], alone[name])


def test_noise_on_latents_is_in_units_of_their_spread(model: Cvae):
    """Level 0 is the reconstruction; level 1 adds the latents' own standard deviation."""
    torch.manual_seed(2)
    spread = copy.deepcopy(model)
    pictures = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    conditions, seeds = torch.randn(6, 12), list(range(6))
    spread.prior.set_statistics(spread.encode(pictures))
    plain = spread.reconstruct(pictures, conditions)
    assert torch.equal(spread.noised(pictures, conditions, seeds, level=0.0), plain)
    noise = torch.stack([noise_of(seed, spread.noise_shape) for seed in seeds])
    latents = spread.encode(pictures) + 0.5 * spread.prior.latent_std * noise
    expected = spread.decode(latents, conditions)
    assert torch.equal(spread.noised(pictures, conditions, seeds, level=0.5), expected)


def test_a_text_prior_that_draws_draws_for_each_picture_from_its_seed():
    """Other seeds give other conditions of one prompt, the same seed the same in any company."""
    torch.manual_seed(0)
    shapes = AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16)
    model = Cvae(*shapes, "flow", "ridge", 2, size_px=32, embed_dim=12)
    model.conditioning.text_prior.spread.copy_(0.3 * torch.eye(12))
    prompt = np.random.default_rng(0).normal(size=(1, 12)).astype(np.float32)

    many = model.conditions_of_texts(np.repeat(prompt, 20, axis=0), range(20))

    assert len({tuple(row) for row in many.tolist()}) == 20
    assert torch.equal(many[17:18], model.conditions_of_texts(prompt, [17]))
    expected = model.conditions_of_texts(prompt)
    assert not any(torch.equal(row[None], expected) for row in many)

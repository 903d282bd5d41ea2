"""The textbook's p(z|c)."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from bucolic.models.cvae.autoencoder import Posterior
from bucolic.models.cvae.gaussian_prior import GaussianPrior

SHAPE = (2, 4, 4)


@pytest.fixture
def prior() -> GaussianPrior:
    """One that says something of its condition."""
    torch.manual_seed(0)
    prior = GaussianPrior(16, SHAPE, embed_dim=6)
    torch.nn.init.normal_(prior.project.weight, std=0.5)
    torch.nn.init.normal_(prior.condition.null)
    return prior


def test_before_training_it_is_standard_normal():
    """Whatever the condition, latents are the noise itself."""
    untrained, noise = GaussianPrior(16, SHAPE, embed_dim=6), torch.randn(3, *SHAPE)
    assert torch.equal(noise, untrained.sample(noise, torch.randn(3, 6), guidance=1.0, steps=4))


def test_the_noise_behind_latents_draws_them_again(prior: GaussianPrior):
    """Unguided, and to the last digits: the way back is exact."""
    condition, noise = torch.randn(3, 6), torch.randn(3, *SHAPE)
    latents = prior.sample(noise, condition, guidance=1.0, steps=1)
    found = prior.noise_behind(latents, condition, steps=1)
    torch.testing.assert_close(found, noise, atol=1e-5, rtol=1e-5)


def test_divergence_and_density_are_those_of_torch_distributions():
    """Summed over all latent values of a row."""
    torch.manual_seed(0)
    first, second = (Posterior(torch.randn(3, *SHAPE), torch.randn(3, *SHAPE)) for _ in range(2))
    p, q = (Normal(d.mean, (0.5 * d.log_variance).exp()) for d in (first, second))
    torch.testing.assert_close(first.kl_to(second), kl_divergence(p, q).flatten(1).sum(1))
    standard = Posterior(torch.zeros(3, *SHAPE), torch.zeros(3, *SHAPE))
    torch.testing.assert_close(first.kl_to(standard), first.kl())
    latents = torch.randn(3, *SHAPE)
    torch.testing.assert_close(first.log_density(latents), p.log_prob(latents).flatten(1).sum(1))


def test_draws_have_the_mean_and_deviation_that_it_says(prior: GaussianPrior):
    """Of ten thousand draws of one condition, value by value."""
    condition = torch.randn(1, 6)
    none = torch.zeros(1, dtype=torch.bool)
    said = prior(condition, none)
    rows = condition.expand(10_000, -1)
    with torch.no_grad():
        drawn = prior.sample(torch.randn(10_000, *SHAPE), rows, guidance=1.0, steps=1)
    std = (0.5 * said.log_variance[0]).exp()
    assert ((drawn.mean(0) - said.mean[0]).abs() < 5 * std / 100).all()
    assert ((drawn.std(0) / std - 1).abs() < 0.05).all()


def test_guidance_moves_the_mean_on_in_the_conditions_direction(prior: GaussianPrior):
    """Guidance 3 goes three times as far from the mean without one; steps change nothing."""
    condition, noise = torch.randn(2, 6), torch.zeros(2, *SHAPE)
    one, three = (prior.sample(noise, condition, guidance=g, steps=1) for g in (1.0, 3.0))
    without = prior(condition, torch.ones(2, dtype=torch.bool)).mean
    torch.testing.assert_close(three - without, 3 * (one - without))
    again = prior.sample(noise, condition, guidance=3.0, steps=9)
    assert torch.equal(three, again)


def test_its_likelihood_is_exact(prior: GaussianPrior):
    """No estimate, so probes change nothing."""
    condition, latents = torch.randn(3, 6), torch.randn(3, *SHAPE)
    said = prior(condition, torch.zeros(3, dtype=torch.bool))
    found = prior.log_likelihood(latents, condition, torch.ones(3, *SHAPE))
    torch.testing.assert_close(found, said.log_density(latents))

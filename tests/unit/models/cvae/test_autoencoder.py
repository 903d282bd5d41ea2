import math

import pytest
import torch

from bucolic.models.cvae.autoencoder import SIGMA_FLOOR, Autoencoder, Posterior, negative_elbo
from bucolic.models.cvae.config import AutoencoderConfig

CONFIG = AutoencoderConfig(
    latent_channels=4, width=16, encoder_blocks=1, decoder_blocks=1, condition_width=16
)


@pytest.fixture
def network() -> Autoencoder:
    """A small autoencoder, not trained."""
    torch.manual_seed(0)
    return Autoencoder(CONFIG, embed_dim=12)


@pytest.mark.parametrize("size_px", [64, 128])
def test_latents_are_an_eighth_of_the_side(network: Autoencoder, size_px: int):
    """Latents have an eighth of the side, and decoding gives the picture's shape back."""
    pictures = torch.rand(3, 3, size_px, size_px)

    posterior = network.encoder(pictures)
    rebuilt = network.reconstruct(pictures, torch.randn(3, 12))

    assert posterior.mean.shape == (3, 4, size_px // 8, size_px // 8)
    assert posterior.log_variance.shape == posterior.mean.shape
    assert rebuilt.shape == pictures.shape


def test_every_block_of_the_decoder_takes_the_condition(network: Autoencoder):
    """Each FiLM layer, moved from zero alone, lets the condition change the picture."""
    decoder = network.decoder
    films = [block.film for block in (*decoder.coarse, *decoder.fine)]
    for block in (*decoder.coarse, *decoder.fine):
        torch.nn.init.normal_(block.second.weight)
    torch.nn.init.normal_(decoder.head[2].weight)
    latents, kept = torch.randn(1, 4, 8, 8), torch.zeros(1, dtype=torch.bool)
    one, other = torch.randn(1, 12), torch.randn(1, 12)
    assert len(films) == 2 * CONFIG.decoder_blocks
    assert torch.equal(decoder(latents, one, kept), decoder(latents, other, kept))

    for film in films:
        torch.nn.init.normal_(film.project.weight)
        assert not torch.equal(decoder(latents, one, kept), decoder(latents, other, kept))
        torch.nn.init.zeros_(film.project.weight)


def test_kl_is_the_textbook_sum():
    """KL to the standard normal is zero for itself and (mu^2)/2 a latent for a shifted one."""
    standard = Posterior(torch.zeros(2, 4, 8, 8), torch.zeros(2, 4, 8, 8))
    shifted = Posterior(torch.full((2, 4, 8, 8), 3.0), torch.zeros(2, 4, 8, 8))
    narrow = Posterior(torch.zeros(1, 1, 1, 1), torch.full((1, 1, 1, 1), -2.0))

    assert standard.kl().tolist() == [0, 0]
    assert shifted.kl().tolist() == [0.5 * 9 * 256] * 2
    assert float(narrow.kl()) == pytest.approx(0.5 * (math.exp(-2) - 1 + 2))


def test_the_bound_is_the_gaussian_likelihood_plus_kl_summed():
    """Times the number of values it is -log N(x; mean, sigma^2) + KL, summed over a picture."""
    torch.manual_seed(0)
    pictures, rebuilt = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 16, 16)
    posterior = Posterior(torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2))

    elbo = negative_elbo(pictures, rebuilt, posterior, kl_weight=1.0)

    likelihood = torch.distributions.Normal(rebuilt, elbo.sigma).log_prob(pictures)
    expected = (posterior.kl() - likelihood.sum((1, 2, 3))).mean() / (3 * 16 * 16)
    torch.testing.assert_close(expected, elbo.loss)
    mean_squared_error = float((pictures - rebuilt).square().mean())
    assert float(elbo.sigma) == pytest.approx(math.sqrt(mean_squared_error + SIGMA_FLOOR**2))


def test_holding_sigma_gives_the_gradient_of_the_closed_form():
    """The gradient is that of (1/2) log(squared error + floor^2), sigma's own optimum put in."""
    torch.manual_seed(0)
    pictures = torch.rand(2, 3, 16, 16)
    rebuilt = torch.rand(2, 3, 16, 16, requires_grad=True)
    nothing = Posterior(torch.zeros(2, 1, 1, 1), torch.zeros(2, 1, 1, 1))

    elbo = negative_elbo(pictures, rebuilt, nothing, kl_weight=1.0)
    (held,) = torch.autograd.grad(elbo.loss, rebuilt)
    closed_form = 0.5 * ((rebuilt - pictures).square().mean() + SIGMA_FLOOR**2).log()
    (expected,) = torch.autograd.grad(closed_form, rebuilt)

    torch.testing.assert_close(expected, held)


def test_kl_can_be_left_out_while_it_warms_up():
    """Weight 0 leaves the likelihood alone; the reported KL stays the true one."""
    pictures, rebuilt = torch.zeros(1, 3, 8, 8), torch.ones(1, 3, 8, 8)
    far = Posterior(torch.full((1, 2, 1, 1), 5.0), torch.zeros(1, 2, 1, 1))

    without = negative_elbo(pictures, rebuilt, far, kl_weight=0.0)
    with_kl = negative_elbo(pictures, rebuilt, far, kl_weight=1.0)

    assert float(without.kl_nats) == 25
    assert float(with_kl.loss - without.loss) == pytest.approx(25 / 192)

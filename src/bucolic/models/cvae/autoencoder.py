"""The conditional variational autoencoder: q(z|x), p(x|z,c) and its evidence lower bound.

Latents are small pictures. The encoder folds 4 x 4 pixels into channels, works at a quarter and at
an eighth of the picture's side, and never sees the condition; the decoder goes back by pixel
shuffle (no strided transposed convolution, hence no checkerboard) and is modulated by the
condition in every block. The likelihood is a Gaussian with one sigma for all pixels, at its
optimum in closed form (sigma-VAE, arXiv 2006.13202), so pixels and latents weigh against each
other as the bound says: both are sums, neither is a mean.

Dimensions: b rows, s picture side in px, z latent channels, e embedding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.cvae.config import DOWNSCALE, PATCH_PX, AutoencoderConfig
from bucolic.models.layers import ConditionEmbedding, ResidualBlock, convolution, group_norm, zeroed

PIXEL_MEAN = 0.5
PIXEL_SCALE = 0.25
SIGMA_FLOOR = 0.02  # of the [0, 1] pixel range: no capacity is spent on what nobody can see
LOG_VARIANCE_RANGE = (-12.0, 4.0)


@dataclass(frozen=True)
class Posterior:
    """q(z|x): independent Gaussians, mean and log_variance [b, z, s/8, s/8].

    Also p(z|c) where that is Gaussian.
    """

    mean: Tensor
    log_variance: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """Reparameterised draw for standard normal noise of the latents' shape."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def entropy(self) -> Tensor:
        """Entropy of q(z|x) in nats, summed over the latents: [b]."""
        per_latent = 0.5 * (self.log_variance + math.log(2 * math.pi) + 1)
        return per_latent.flatten(1).sum(1)

    def kl(self) -> Tensor:
        """KL(q(z|x) || N(0, I)) in nats, summed over the latents: [b]."""
        variance = self.log_variance.exp()
        return 0.5 * (self.mean**2 + variance - 1 - self.log_variance).flatten(1).sum(1)

    def kl_to(self, other: "Posterior") -> Tensor:
        """KL of this distribution to another, in nats, summed over the latents: [b]."""
        gap = self.log_variance - other.log_variance
        distance = (self.mean - other.mean) ** 2 * (-other.log_variance).exp()
        return 0.5 * (distance + gap.exp() - 1 - gap).flatten(1).sum(1)

    def log_density(self, latents: Tensor) -> Tensor:
        """Log density of latents of its shape in nats: [b]."""
        distance = (latents - self.mean) ** 2 * (-self.log_variance).exp()
        per_latent = 0.5 * (distance + self.log_variance + math.log(2 * math.pi))
        return -per_latent.flatten(1).sum(1)


class Encoder(nn.Module):
    """Pictures to the posterior over latents."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        wide = 2 * config.width
        self.layers = nn.Sequential(
            nn.PixelUnshuffle(PATCH_PX),
            convolution(3 * PATCH_PX**2, config.width),
            *(ResidualBlock(config.width) for _ in range(config.encoder_blocks)),
            nn.PixelUnshuffle(2),
            convolution(4 * config.width, wide, side=1),
            *(ResidualBlock(wide) for _ in range(config.encoder_blocks)),
            group_norm(wide),
            nn.SiLU(),
            zeroed(convolution(wide, 2 * config.latent_channels)),
        )
        self.linear = nn.Sequential(
            nn.PixelUnshuffle(DOWNSCALE),
            convolution(3 * DOWNSCALE**2, 2 * config.latent_channels, side=1),
        )

    def forward(self, pictures: Tensor) -> Posterior:
        """Encode pictures [b, 3, s, s] in [0, 1]."""
        scaled = (pictures - PIXEL_MEAN) / PIXEL_SCALE
        mean, log_variance = (self.layers(scaled) + self.linear(scaled)).float().chunk(2, 1)
        return Posterior(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))


class Decoder(nn.Module):
    """Latents and the condition to the mean of p(x|z,c)."""

    def __init__(self, config: AutoencoderConfig, embed_dim: int) -> None:
        super().__init__()
        width, wide, k = config.width, 2 * config.width, config.condition_width
        blocks = range(config.decoder_blocks)
        self.condition = ConditionEmbedding(embed_dim, k)
        self.stem = convolution(config.latent_channels, wide)
        self.coarse = nn.ModuleList(ResidualBlock(wide, k) for _ in blocks)
        self.upscale = nn.Sequential(convolution(wide, 4 * width, side=1), nn.PixelShuffle(2))
        self.fine = nn.ModuleList(ResidualBlock(width, k) for _ in blocks)
        self.head = nn.Sequential(
            group_norm(width),
            nn.SiLU(),
            zeroed(convolution(width, 3 * PATCH_PX**2)),
            nn.PixelShuffle(PATCH_PX),
        )
        self.linear = nn.Sequential(
            convolution(config.latent_channels, 3 * DOWNSCALE**2, side=1),
            nn.PixelShuffle(DOWNSCALE),
        )

    def forward(self, latents: Tensor, condition: Tensor, dropped: Tensor) -> Tensor:
        """Decode latents [b, z, s/8, s/8] under condition [b, e] to pictures [b, 3, s, s].

        The pictures lie around [0, 1]; clamping is left to whoever stores them. `dropped` [b] marks
        the rows whose condition is withheld.
        """
        embedded = self.condition(condition, dropped)
        features = self.stem(latents)
        for block in self.coarse:
            features = block(features, embedded)
        features = self.upscale(features)
        for block in self.fine:
            features = block(features, embedded)
        scaled = self.head(features) + self.linear(latents)
        pictures: Tensor = PIXEL_MEAN + PIXEL_SCALE * scaled.float()
        return pictures


class Autoencoder(nn.Module):
    """Encoder and decoder of the CVAE, and the likelihood's sigma once they are trained."""

    log_sigma: Tensor

    def __init__(self, config: AutoencoderConfig, embed_dim: int) -> None:
        super().__init__()
        self.encoder = Encoder(config)
        self.decoder = Decoder(config, embed_dim)
        self.register_buffer("log_sigma", torch.zeros(()))

    def set_sigma(self, squared_error: Tensor) -> None:
        """Take the optimal sigma for a mean squared error over train pictures."""
        self.log_sigma.copy_(optimal_sigma(squared_error).log())

    def reconstruct(self, pictures: Tensor, condition: Tensor) -> Tensor:
        """Decode the posterior means of pictures [b, 3, s, s] under their condition [b, e]."""
        dropped = torch.zeros(len(pictures), dtype=torch.bool, device=pictures.device)
        reconstruction: Tensor = self.decoder(self.encoder(pictures).mean, condition, dropped)
        return reconstruction


@dataclass(frozen=True)
class Elbo:
    """The negative evidence lower bound of a batch, and its parts.

    Attributes:
        loss: nats per pixel value (both sums over 3 s^2), what training minimises.
        squared_error: mean squared error of a pixel value, in [0, 1] units.
        sigma: standard deviation of the likelihood, in [0, 1] units.
        kl_nats: KL of a picture's posterior, averaged over the batch.
    """

    loss: Tensor
    squared_error: Tensor
    sigma: Tensor
    kl_nats: Tensor


def gaussian_nats(means: Tensor, pictures: Tensor, log_sigma: Tensor) -> Tensor:
    """-log p(x|z,c) of pictures [b, 3, s, s] about means, summed over pixel values: [b]."""
    scaled = (pictures - means) / log_sigma.exp()
    per_value = 0.5 * scaled.square() + log_sigma + 0.5 * math.log(2 * math.pi)
    return per_value.flatten(1).sum(1)


def optimal_sigma(squared_error: Tensor) -> Tensor:
    """The sigma that maximises the Gaussian likelihood, softly kept above SIGMA_FLOOR."""
    return (squared_error + SIGMA_FLOOR**2).sqrt()


def negative_elbo(
    pictures: Tensor,
    reconstruction: Tensor,
    posterior: Posterior,
    *,
    kl_weight: float,
    shared_error: Tensor | None = None,
    prior: Posterior | None = None,
) -> Elbo:
    """The bound to minimise, with sigma at its optimum for this batch.

    Holding sigma fixed at its optimum gives the very gradient of the closed form
    (D/2) log(squared error): the derivative through sigma vanishes there.

    Args:
        pictures: [b, 3, s, s] in [0, 1].
        reconstruction: decoder's mean, of the same shape.
        posterior: q(z|x) of these pictures.
        kl_weight: weight of the KL term; below 1 while it warms up.
        shared_error: the squared error that sets sigma where the batch is a part of a larger one.
        prior: p(z|c), where it is trained together with the others; None stands for N(0, I).
    """
    values = pictures[0].numel()
    squared_error = functional.mse_loss(reconstruction, pictures)
    sigma = optimal_sigma((squared_error if shared_error is None else shared_error).detach())
    kl_nats = (posterior.kl() if prior is None else posterior.kl_to(prior)).mean()
    log_normaliser = sigma.log() + 0.5 * math.log(2 * math.pi)
    likelihood = squared_error / (2 * sigma**2) + log_normaliser
    loss = likelihood + kl_weight * kl_nats / values
    return Elbo(loss, squared_error.detach(), sigma, kl_nats.detach())

"""The textbook's conditional prior p(z|c): a Gaussian for each latent value, trained with the rest.

Mean and variance are functions of the condition alone, so latents that belong together are drawn
apart: what the learned flow is measured against (Sohn et al. 2015, Learning Structured Output
Representation using Deep Conditional Generative Models).

Dimensions: b rows, z latent channels, h latent side, e embedding.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bucolic.models.cvae.autoencoder import LOG_VARIANCE_RANGE, Posterior
from bucolic.models.layers import ConditionEmbedding, zeroed


class GaussianPrior(nn.Module):
    """Means and variances of all latent values from the condition; N(0, I) before it is trained."""

    def __init__(self, width: int, latent_shape: Sequence[int], embed_dim: int) -> None:
        super().__init__()
        self.latent_shape = tuple(latent_shape)
        self.condition = ConditionEmbedding(embed_dim, width)
        self.project = zeroed(nn.Linear(width, 2 * math.prod(latent_shape)))

    def forward(self, condition: Tensor, dropped: Tensor) -> Posterior:
        """The distribution of latents [b, z, h, h] under condition [b, e]."""
        moments = self.project(self.condition(condition, dropped)).float()
        mean, log_variance = moments.unflatten(1, (2, *self.latent_shape)).unbind(1)
        return Posterior(mean, log_variance.clamp(*LOG_VARIANCE_RANGE))

    def sample(self, noise: Tensor, condition: Tensor, *, guidance: float, steps: int) -> Tensor:  # noqa: ARG002 - one draw
        """Latents of noise [b, z, h, h]; guidance exaggerates how the condition moves the mean."""
        none = torch.zeros(len(noise), dtype=torch.bool, device=noise.device)
        given: Posterior = self(condition, none)
        if guidance == 1:
            return given.sample(noise)
        without: Posterior = self(condition, ~none)
        mean = without.mean + guidance * (given.mean - without.mean)
        return Posterior(mean, given.log_variance).sample(noise)

    def noise_behind(self, latents: Tensor, condition: Tensor, *, steps: int) -> Tensor:  # noqa: ARG002 - exact
        """The noise of which `sample`, unguided, makes these latents [b, z, h, h]."""
        none = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        given: Posterior = self(condition, none)
        return (latents - given.mean) * torch.exp(-0.5 * given.log_variance)

    def log_likelihood(self, latents: Tensor, condition: Tensor, probes: Tensor) -> Tensor:  # noqa: ARG002 - exact
        """Log density in nats of latents [b, z, h, h] under condition [b, e]: [b]."""
        none = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        given: Posterior = self(condition, none)
        return given.log_density(latents)

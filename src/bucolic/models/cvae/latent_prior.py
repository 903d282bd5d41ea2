"""The learned conditional prior p(z|c): a rectified flow from noise to latents.

A point moves on a straight line, x_t = (1 - t) noise + t z, from noise at time 0 to a latent at 1;
the network predicts its velocity z - noise from x_t, t and c (arXiv 2209.03003). Guidance contrasts
that velocity with the one predicted without a condition (arXiv 2207.12598).

Dimensions: b rows, z latent channels, h latent side, w width, e embedding, k condition width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.cvae.config import PriorConfig
from bucolic.models.flow import follow, log_likelihood
from bucolic.models.layers import (
    ConditionEmbedding,
    ResidualBlock,
    SelfAttention,
    convolution,
    group_norm,
    zeroed,
)
from bucolic.models.times import TIME_FEATURES, fourier_features

LIKELIHOOD_STEPS = 16


class VelocityNetwork(nn.Module):
    """Residual convolutions at the latents' own resolution, and some attention among positions.

    Attention follows the second of every four blocks: it costs a tenth of a step, and a second one
    after the fourth gained nothing (docs/experiments.md).
    """

    def __init__(self, config: PriorConfig, latent_channels: int, embed_dim: int) -> None:
        super().__init__()
        width, k = config.width, config.condition_width
        self.width = width
        self.condition = ConditionEmbedding(embed_dim, k)
        self.time = nn.Sequential(nn.Linear(TIME_FEATURES, k), nn.SiLU(), nn.Linear(k, k))
        self.stem = convolution(latent_channels, width)
        self.blocks = nn.ModuleList(ResidualBlock(width, k) for _ in range(config.blocks))
        self.attention = nn.ModuleDict(
            {str(index): SelfAttention(width) for index in range(1, config.blocks, 4)}
        )
        self.head = nn.Sequential(
            group_norm(width), nn.SiLU(), zeroed(convolution(width, latent_channels))
        )

    def forward(self, points: Tensor, times: Tensor, condition: Tensor, dropped: Tensor) -> Tensor:
        """Velocity [b, z, h, h] at points [b, z, h, h] and times [b] under condition [b, e]."""
        velocity, _ = self.with_features(points, times, condition, dropped)
        return velocity

    def with_features(
        self, points: Tensor, times: Tensor, condition: Tensor, dropped: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The velocity, and the features [b, w, h, h] after half of the blocks."""
        embedded = functional.silu(
            self.condition(condition, dropped) + self.time(fourier_features(times))
        )
        features = halfway = self.stem(points)
        for index, block in enumerate(self.blocks):
            features = block(features, embedded)
            if str(index) in self.attention:
                features = self.attention[str(index)](features)
            if index + 1 == len(self.blocks) // 2:
                halfway = features
        return self.head(features).float(), halfway


class LatentPrior(nn.Module):
    """p(z|c) over latents normalised, channel by channel, with statistics of the train split."""

    latent_mean: Tensor
    latent_std: Tensor

    def __init__(self, config: PriorConfig, latent_channels: int, embed_dim: int) -> None:
        super().__init__()
        self.network = VelocityNetwork(config, latent_channels, embed_dim)
        self.register_buffer("latent_mean", torch.zeros(1, latent_channels, 1, 1))
        self.register_buffer("latent_std", torch.ones(1, latent_channels, 1, 1))

    def set_statistics(self, latents: Tensor) -> None:
        """Take mean and standard deviation of each channel from train latents [n, z, h, h]."""
        self.latent_mean.copy_(latents.mean((0, 2, 3), keepdim=True))
        self.latent_std.copy_(latents.std((0, 2, 3), keepdim=True).clamp(min=1e-4))

    def normalise(self, latents: Tensor) -> Tensor:
        """Latents as the network sees them."""
        return (latents - self.latent_mean) / self.latent_std

    def flow_loss(
        self, latents: Tensor, noise: Tensor, times: Tensor, condition: Tensor, dropped: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How far the velocity is off for normalised latents, and what the network saw.

        Returns:
            The squared error averaged over each row, [b], and the features halfway through the
            network, [b, w, h, h].
        """
        mix = times[:, None, None, None]
        points = (1 - mix) * noise + mix * latents
        velocity, features = self.network.with_features(points, times, condition, dropped)
        errors = functional.mse_loss(velocity, latents - noise, reduction="none")
        return errors.flatten(1).mean(1), features

    def sample(self, noise: Tensor, condition: Tensor, *, guidance: float, steps: int) -> Tensor:
        """Latents [b, z, h, h] reached from noise of that shape; see `flow.follow`.

        Args:
            noise: standard normal, where the flow starts.
            condition: [b, e].
            guidance: 1 follows the condition, more exaggerates what the condition changes.
            steps: of equal length; steps + 1 network function evaluations (NFE), and as many
                without the condition when guided.
        """
        points = follow(
            lambda points, time: self._velocity(points, time, condition, guidance), noise, steps
        )
        return points * self.latent_std + self.latent_mean

    def noise_behind(self, latents: Tensor, condition: Tensor, *, steps: int) -> Tensor:
        """The noise from which the flow, unguided, comes to raw latents [b, z, h, h].

        Args:
            latents: as the encoder gives them.
            condition: [b, e].
            steps: of the way back; see `flow.follow`.
        """
        return follow(
            lambda points, passed: -self._velocity(points, 1 - passed, condition, guidance=1),
            self.normalise(latents),
            steps,
        )

    def log_likelihood(self, latents: Tensor, condition: Tensor, probes: Tensor) -> Tensor:
        """Log density in nats of raw latents [b, z, h, h] under condition [b, e]: [b].

        Args:
            latents: as the encoder gives them.
            condition: [b, e].
            probes: of the latents' shape, each value -1 or 1; see `flow.log_likelihood`.
        """
        normalised = log_likelihood(
            lambda points, time: self._velocity(points, time, condition, guidance=1),
            self.normalise(latents),
            probes,
            LIKELIHOOD_STEPS,
        )
        positions = latents[0, 0].numel()
        return normalised - positions * self.latent_std.log().sum()

    def _velocity(self, points: Tensor, time: float, condition: Tensor, guidance: float) -> Tensor:
        times = points.new_full((len(points),), time)
        none = torch.zeros_like(times, dtype=torch.bool)
        if guidance == 1:
            conditional: Tensor = self.network(points, times, condition, none)
            return conditional
        twice = (torch.cat([part, part]) for part in (points, times, condition))
        velocities: Tensor = self.network(*twice, torch.cat([none, ~none]))
        conditional, unconditional = velocities.chunk(2)
        return unconditional + guidance * (conditional - unconditional)

"""What the two phases minimise: the autoencoder's evidence lower bound, then the prior's flow loss.

See `models.phases.Objective`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bucolic.models.cvae.autoencoder import Autoencoder, negative_elbo
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.model import to_unit
from bucolic.models.phases import Batch, Moment, TrainingData, Values

KL_WARMUP_SHARE = 0.2


def kl_weight(moment: Moment) -> float:
    """Weight of the KL term, from 0 to 1 over the first fifth of the budget."""
    return min(1.0, moment.step / max(1.0, KL_WARMUP_SHARE * moment.steps))


class AutoencoderObjective(nn.Module):
    """The negative evidence lower bound in nats per pixel value."""

    def __init__(
        self, network: Autoencoder, data: TrainingData, mean: Callable[[Tensor], Tensor]
    ) -> None:
        """Wrap `network`.

        Args:
            network: what is trained.
            data: where the batches' rows point.
            mean: average of a scalar over all processes; sigma is shared by the whole batch.
        """
        super().__init__()
        self.network = network
        self.data = data
        self.mean = mean

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, Values]:
        """The bound with one posterior sample a picture."""
        pictures = to_unit(mirrored(self.data.pictures[batch.rows], batch.flipped))
        posterior = self.network.encoder(pictures)
        latents = posterior.sample(batch.noise)
        reconstruction = self.network.decoder(latents, batch.conditions, batch.dropped)
        error = self.mean((reconstruction.detach() - pictures).square().mean())
        elbo = negative_elbo(
            pictures, reconstruction, posterior, kl_weight=kl_weight(moment), shared_error=error
        )
        return elbo.loss, {"sigma": elbo.sigma, "kl_nats": elbo.kl_nats}


@dataclass(frozen=True)
class LatentData:
    """Normalised latents of a split's pictures, [n, z, h, h], and of their mirror images."""

    plain: Tensor
    mirrored: Tensor

    def at(self, batch: Batch) -> Tensor:
        """The latents that a batch asks for."""
        flipped = batch.flipped[:, None, None, None]
        return torch.where(flipped, self.mirrored[batch.rows], self.plain[batch.rows])


class PriorObjective(nn.Module):
    """The rectified flow's squared velocity error."""

    def __init__(self, network: LatentPrior, latents: LatentData) -> None:
        super().__init__()
        self.network = network
        self.latents = latents

    def forward(self, batch: Batch, _moment: Moment) -> tuple[Tensor, Values]:
        """The flow loss at one time for each row."""
        latents = self.latents.at(batch)
        rows = self.network.flow_loss(
            latents, batch.noise, batch.times, batch.conditions, batch.dropped
        )
        return rows.mean(), {}


def mirrored(pictures: Tensor, flipped: Tensor) -> Tensor:
    """Pictures [b, c, h, w] with the rows marked in `flipped` [b] mirrored left to right."""
    return torch.where(flipped[:, None, None, None], pictures.flip(-1), pictures)

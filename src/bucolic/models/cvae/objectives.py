"""What the two phases minimise: the autoencoder's evidence lower bound, then the prior's flow loss.

Either may have company that no likelihood asks for, and that is off unless it is given a weight: an
error of detail, and the alignment of the prior's features with CLIP's.

See `models.phases.Objective`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.cvae.alignment import AlignedPrior
from bucolic.models.cvae.autoencoder import Autoencoder, negative_elbo
from bucolic.models.cvae.gaussian_prior import GaussianPrior
from bucolic.models.phases import Batch, Moment, TrainingData, Values

KL_WARMUP_SHARE = 0.2


def kl_weight(moment: Moment) -> float:
    """Weight of the KL term, from 0 to 1 over the first fifth of the budget."""
    return min(1.0, moment.step / max(1.0, KL_WARMUP_SHARE * moment.steps))


class Joint(nn.Module):
    """An autoencoder in training, with the Gaussian prior where that is trained beside it."""

    def __init__(self, autoencoder: Autoencoder, prior: GaussianPrior | None = None) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.prior = prior


class AutoencoderObjective(nn.Module):
    """The negative evidence lower bound in nats per pixel value, and an error of detail."""

    def __init__(
        self,
        network: Joint,
        data: TrainingData,
        detail_weight: float,
        mean: Callable[[Tensor], Tensor],
    ) -> None:
        """Wrap `network`.

        Args:
            network: what is trained.
            data: where the batches' rows point.
            detail_weight: of the detail's squared error beside that of the pixels; see `detail_of`.
            mean: average of a scalar over all processes; sigma is shared by the whole batch.
        """
        super().__init__()
        self.network = network
        self.data = data
        self.detail_weight = detail_weight
        self.mean = mean

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, Values]:
        """The bound with one posterior sample a picture."""
        pictures = self.data.pictures_of(batch)
        autoencoder, prior = self.network.autoencoder, self.network.prior
        posterior = autoencoder.encoder(pictures)
        latents = posterior.sample(batch.noise)
        reconstruction = autoencoder.decoder(latents, batch.conditions, batch.dropped)
        error = self.mean((reconstruction.detach() - pictures).square().mean())
        elbo = negative_elbo(
            pictures,
            reconstruction,
            posterior,
            kl_weight=kl_weight(moment),
            shared_error=error,
            prior=None if prior is None else prior(batch.conditions, batch.dropped),
        )
        values = {"bound": elbo.loss.detach(), "sigma": elbo.sigma, "kl_nats": elbo.kl_nats}
        if not self.detail_weight:
            return elbo.loss, values
        detail = detail_of(reconstruction - pictures).square().mean() / (2 * elbo.sigma**2)
        return elbo.loss + self.detail_weight * detail, values


def detail_of(pictures: Tensor) -> Tensor:
    """The discrete Laplacian of pictures [b, c, h, w], edges repeated, at the scale of white noise.

    A squared error of it weighs fine structure, which a Gaussian likelihood hardly asks for since
    there is little of it; flat areas weigh nothing. The kernel has length 1: white noise comes out
    as strong as it went in.
    """
    padded = functional.pad(pictures, (1, 1, 1, 1), mode="replicate")
    across = padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:]
    down = padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1]
    return (across + down - 4 * pictures) / math.sqrt(20)


@dataclass(frozen=True)
class Maps:
    """What each picture of a split is to the prior, [n, c, h, h], and what its mirror image is.

    Normalised latents, or feature maps of CLIP.
    """

    plain: Tensor
    mirrored: Tensor

    def at(self, batch: Batch) -> Tensor:
        """The maps that a batch asks for."""
        flipped = batch.flipped[:, None, None, None]
        return torch.where(flipped, self.mirrored[batch.rows], self.plain[batch.rows])


class PriorObjective(nn.Module):
    """The rectified flow's squared velocity error, and how far features turn from CLIP's maps."""

    def __init__(
        self,
        network: AlignedPrior,
        latents: Maps,
        maps: Maps | None = None,
        alignment_weight: float = 0.0,
    ) -> None:
        """Wrap `network`.

        Args:
            network: what is trained.
            latents: normalised, of the split that the batches' rows point into.
            maps: CLIP's, of the same split; needed where the network has a projector.
            alignment_weight: of 1 - cosine beside the flow's error.
        """
        super().__init__()
        self.network = network
        self.latents = latents
        self.maps = maps
        self.alignment_weight = alignment_weight

    def forward(self, batch: Batch, _moment: Moment) -> tuple[Tensor, Values]:
        """The loss at one time for each row."""
        errors, features = self.network.prior.flow_loss(
            self.latents.at(batch), batch.noise, batch.times, batch.conditions, batch.dropped
        )
        flow = errors.mean()
        if self.network.projector is None or self.maps is None:
            return flow, {}
        cosine = self.network.projector(features, self.maps.at(batch)).mean()
        values = {"flow": flow.detach(), "alignment": cosine.detach()}
        return flow + self.alignment_weight * (1 - cosine), values

"""Representation alignment: while it is trained, the prior's features learn to say what CLIP sees.

Halfway through the network a small projector reads its features, and their cosine with CLIP's own
feature maps of the picture is raised: REPA (Yu et al. 2024, arXiv 2410.06940). From a noised latent
the network so learns what stands where, which the flow's own error tells it late. Nothing of it is
left in the model.

Dimensions: b rows, w prior width, f channels of CLIP's maps, h latent side.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.layers import convolution

HIDDEN = 256
LEAST_STD = 1e-6
STATISTICS_ROWS = 4096  # pictures whose maps give the channels' statistics


class Projector(nn.Module):
    """From the prior's features to CLIP's, position by position, and how near they come."""

    mean: Tensor
    std: Tensor

    def __init__(self, width: int, maps: Tensor) -> None:
        """Take the channels' statistics from float16 `maps` [n, f, h, h] of train pictures."""
        super().__init__()
        channels = maps.shape[1]
        self.layers = nn.Sequential(
            convolution(width, HIDDEN, side=1), nn.SiLU(), convolution(HIDDEN, channels, side=1)
        )
        some = maps[:STATISTICS_ROWS].float()
        std, mean = torch.std_mean(some, dim=(0, 2, 3), keepdim=True)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std.clamp(min=LEAST_STD))

    def forward(self, features: Tensor, maps: Tensor) -> Tensor:
        """Mean cosine over positions of features [b, w, h, h] with standardised maps: [b]."""
        wanted = (maps.float() - self.mean) / self.std
        cosines = functional.cosine_similarity(self.layers(features).float(), wanted, dim=1)
        return cosines.flatten(1).mean(1)


class AlignedPrior(nn.Module):
    """A latent prior in training, with the projector where it is aligned."""

    def __init__(self, prior: LatentPrior, projector: Projector | None = None) -> None:
        super().__init__()
        self.prior = prior
        self.projector = projector

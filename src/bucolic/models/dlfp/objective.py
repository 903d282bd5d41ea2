"""The original study's loss, and structural similarity as TensorFlow computes it.

Dimensions: b rows, s picture side in px.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.dlfp.networks import Autoencoder
from bucolic.models.phases import Batch, Moment, TrainingData, Values

KL_WEIGHT, SSIM_WEIGHT = 0.5, 0.1
WINDOW_PX, WINDOW_SIGMA = 11, 1.5
STABILISERS = (0.01**2, 0.03**2)  # for values from 0 to 1


class StudyObjective(nn.Module):
    """(cross entropy + 0.5 KL + 0.1 (1 - SSIM)) over the number of rows.

    The cross entropy is Keras': the mean over the three channels, summed over pixels and rows; KL
    is summed over latent values and rows. So a pixel counts a third of what a likelihood gives it.
    """

    def __init__(self, network: Autoencoder, data: TrainingData) -> None:
        super().__init__()
        self.network = network
        self.data = data

    def forward(self, batch: Batch, _moment: Moment) -> tuple[Tensor, Values]:
        """The loss with one posterior sample a picture."""
        pictures = self.data.pictures_of(batch)
        logits, mean, log_variance = self.network(pictures, batch.conditions, batch.noise)
        rows = len(pictures)
        entropy = functional.binary_cross_entropy_with_logits(logits, pictures, reduction="none")
        kl = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum()
        likeness = ssim(logits.sigmoid(), pictures).mean()
        loss = (entropy.mean(1).sum() + KL_WEIGHT * kl + SSIM_WEIGHT * (1 - likeness)) / rows
        return loss, {"kl_nats": (kl / rows).detach(), "ssim": likeness.detach()}


def ssim(pictures: Tensor, references: Tensor) -> Tensor:
    """Structural similarity of pictures [b, c, s, s] in [0, 1]: [b].

    Wang et al. 2004, a Gaussian window of 11 px without padding, averaged over places and channels,
    as tf.image.ssim computes it.
    """
    with torch.autocast(pictures.device.type, enabled=False):  # small differences of squares
        return _similarity(pictures.float(), references.float())


def _similarity(pictures: Tensor, references: Tensor) -> Tensor:
    window = _window(pictures.shape[1]).to(pictures)

    def blurred(values: Tensor) -> Tensor:
        return functional.conv2d(values, window, groups=values.shape[1])

    means = blurred(pictures), blurred(references)
    products = means[0] * means[1]
    squares = means[0].square() + means[1].square()
    covariance = blurred(pictures * references) - products
    variances = blurred(pictures.square() + references.square()) - squares
    first, second = STABILISERS
    luminance = (2 * products + first) / (squares + first)
    structure = (2 * covariance + second) / (variances + second)
    return (luminance * structure).flatten(1).mean(1)


def _window(channels: int) -> Tensor:
    places = torch.arange(WINDOW_PX) - (WINDOW_PX - 1) / 2
    line = torch.softmax(-places.square() / (2 * WINDOW_SIGMA**2), dim=0)
    return torch.outer(line, line).expand(channels, 1, -1, -1)

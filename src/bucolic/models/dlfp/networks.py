"""Encoder and decoder as the study wrote them in Keras, in its paddings and initial values.

Keras pads "same" convolutions of stride 2 by one row and column more at the end than at the
beginning, and cuts transposed ones alike; torch pads both sides alike, so the difference is spelt
out here.

Dimensions: b rows, s picture side in px (64 or 128), e embedding.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LATENT_DIM = 128
SLOPE = 0.3  # of Keras 2's LeakyReLU layer
DENSE_SLOPE = 0.2  # of its activation "leaky_relu"
CONDITION_DIM = 32
SEED_SIDE, SEED_CHANNELS = 8, 256
NORM_EPS = 1e-3
NORM_MOMENTUM = 0.01  # Keras' 0.99 in torch's sense


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)


def _flat_norm(channels: int) -> nn.BatchNorm1d:
    return nn.BatchNorm1d(channels, eps=NORM_EPS, momentum=NORM_MOMENTUM)


class Down(nn.Module):
    """A convolution of stride 2, BatchNorm, LeakyReLU: half the side."""

    def __init__(self, into: int, out: int, kernel: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(into, out, kernel, stride=2)
        self.norm = _norm(out)
        self.before = (kernel - 2) // 2

    def forward(self, features: Tensor) -> Tensor:
        """Map [b, into, s, s] to [b, out, s/2, s/2]."""
        after = self.convolution.kernel_size[0] - 2 - self.before
        padded = functional.pad(features, (self.before, after, self.before, after))
        return functional.leaky_relu(self.norm(self.convolution(padded)), SLOPE)


class Up(nn.Module):
    """A transposed convolution, BatchNorm, LeakyReLU: `stride` times the side."""

    def __init__(self, into: int, out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.ConvTranspose2d(
            into, out, kernel, stride=stride, padding=(kernel - stride) // 2
        )
        self.norm = _norm(out)
        self.stride = stride

    def forward(self, features: Tensor) -> Tensor:
        """Map [b, into, s, s] to [b, out, stride s, stride s]."""
        side = self.stride * features.shape[-1]
        cut = self.convolution(features)[:, :, :side, :side]
        return functional.leaky_relu(self.norm(cut), SLOPE)


class Encoder(nn.Module):
    """A picture and its condition to the posterior over 128 latent values."""

    def __init__(self, size_px: int, embed_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Down(3, 256, 3), Down(256, 256, 5), Down(256, 128, 3), Down(128, 128, 3), nn.Flatten()
        )
        flat = 128 * (size_px // 16) ** 2
        self.dense = nn.Sequential(
            nn.Linear(flat + embed_dim, 2048),
            nn.LeakyReLU(DENSE_SLOPE),
            nn.Linear(2048, 2048),
            nn.LeakyReLU(DENSE_SLOPE),
            nn.Linear(2048, 1024),
            _flat_norm(1024),
            nn.LeakyReLU(SLOPE),
        )
        self.mean = nn.Linear(1024, LATENT_DIM)
        self.log_variance = nn.Linear(1024, LATENT_DIM)

    def forward(self, pictures: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance [b, 128] for pictures [b, 3, s, s] in [0, 1], condition [b, e]."""
        hidden = self.dense(torch.cat([self.layers(pictures), condition], dim=1))
        return self.mean(hidden).float(), self.log_variance(hidden).float()


class Decoder(nn.Module):
    """Latent and condition to the logits of pixel values, whose sigmoid is the picture."""

    def __init__(self, size_px: int, embed_dim: int) -> None:
        super().__init__()
        self.condition = nn.Linear(embed_dim, CONDITION_DIM)
        flat = SEED_SIDE**2 * SEED_CHANNELS
        self.dense = nn.Sequential(
            nn.Linear(LATENT_DIM + CONDITION_DIM, flat), _flat_norm(flat), nn.LeakyReLU(SLOPE)
        )
        last = size_px // 64
        self.layers = nn.Sequential(
            nn.Unflatten(1, (SEED_CHANNELS, SEED_SIDE, SEED_SIDE)),
            Up(SEED_CHANNELS, 256, 3, 2),
            Up(256, 256, 5, 2),
            Up(256, 128, 5, 2),
            Up(128, 128, 3, 1),
            Up(128, 32, 5, last),
            nn.Conv2d(32, 3, 5, padding=2),
        )

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        """Logits [b, 3, s, s] of latent [b, 128] under condition [b, e]."""
        seed = self.dense(torch.cat([latent, self.condition(condition)], dim=1))
        logits: Tensor = self.layers(seed)
        return logits.float()


class Autoencoder(nn.Module):
    """Both, with dropout on the latent between them.

    What is dropped follows from the batch's noise, as all chance of a training step does: a run
    that was killed goes on as if it had not been.
    """

    def __init__(self, size_px: int, embed_dim: int, dropout: float) -> None:
        super().__init__()
        self.encoder = Encoder(size_px, embed_dim)
        self.decoder = Decoder(size_px, embed_dim)
        self.dropout = dropout
        self.apply(_as_keras)
        nn.init.xavier_uniform_(self.decoder.condition.weight)

    def forward(
        self, pictures: Tensor, condition: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, mean and log variance.

        Args:
            pictures: [b, 3, s, s] in [0, 1].
            condition: [b, e].
            noise: standard normal [b, 256]: of the posterior sample, then of dropout.
        """
        mean, log_variance = self.encoder(pictures, condition)
        of_sample, of_dropout = noise.chunk(2, dim=1)
        latent = mean + torch.exp(0.5 * log_variance) * of_sample
        return self.decoder(self.dropped(latent, of_dropout), condition), mean, log_variance

    def dropped(self, latent: Tensor, noise: Tensor) -> Tensor:
        """In training, latent [b, 128] with a share of values at 0 and the others scaled up."""
        if not (self.training and self.dropout):
            return latent
        kept = torch.special.ndtr(noise) >= self.dropout
        scaled: Tensor = latent * kept / (1 - self.dropout)
        return scaled


def _as_keras(layer: nn.Module) -> None:
    """He-normal weights, cut off at two standard deviations, and no bias, as Keras draws them."""
    if not isinstance(layer, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        return
    inputs = layer.weight[0].numel()
    if isinstance(layer, nn.ConvTranspose2d):
        # Keras takes the output channels of a transposed kernel for its inputs.
        inputs = layer.out_channels * layer.weight[0, 0].numel()
    std = math.sqrt(2 / inputs) / 0.87962566103423978  # of a normal that is cut off at 2
    nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)

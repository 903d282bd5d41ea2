"""Layers that decoder and prior share: FiLM, residual blocks, attention, dropped conditions.

Dimensions: b rows, c channels, h and w positions, e embedding, k condition width.
"""

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

CHANNELS_PER_GROUP = 8
CHANNELS_PER_HEAD = 32
Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def group_norm(channels: int, *, affine: bool = True) -> nn.GroupNorm:
    """GroupNorm with about 8 channels in a group: it knows no batch, so sampling needs no care."""
    groups = max(1, channels // CHANNELS_PER_GROUP)
    while channels % groups:
        groups -= 1
    return nn.GroupNorm(groups, channels, affine=affine)


def convolution(into: int, out: int, side: int = 3) -> nn.Conv2d:
    """A convolution that keeps the picture's size."""
    return nn.Conv2d(into, out, side, padding=side // 2)


def zeroed(layer: Layer) -> Layer:
    """The layer with weight and bias set to zero, so that what it feeds starts as the identity."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


class Film(nn.Module):
    """Scales and shifts normalised features by the condition: h (1 + scale(c)) + shift(c).

    FiLM (Perez et al., arXiv 1709.07871), placed after GroupNorm as in AdaGN (arXiv 2105.05233);
    starts as the identity.
    """

    def __init__(self, channels: int, condition_width: int) -> None:
        super().__init__()
        self.norm = group_norm(channels, affine=False)
        self.project = zeroed(nn.Linear(condition_width, 2 * channels))

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Modulate features [b, c, h, w] by condition [b, k]."""
        scale, shift = self.project(condition)[:, :, None, None].chunk(2, dim=1)
        modulated: Tensor = self.norm(features) * (1 + scale) + shift
        return modulated


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside the identity; the second one sees modulated features."""

    def __init__(self, channels: int, condition_width: int | None = None) -> None:
        super().__init__()
        self.norm = group_norm(channels)
        self.first = convolution(channels, channels)
        self.film = Film(channels, condition_width) if condition_width else None
        self.second_norm = None if condition_width else group_norm(channels)
        self.second = zeroed(convolution(channels, channels))

    def forward(self, features: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map features [b, c, h, w], and the condition [b, k] where there is one, to the same."""
        hidden = self.first(functional.silu(self.norm(features)))
        if self.film is not None:
            hidden = self.film(hidden, condition)
        elif self.second_norm is not None:
            hidden = self.second_norm(hidden)
        change: Tensor = self.second(functional.silu(hidden))
        return features + change


class SelfAttention(nn.Module):
    """Multi-head attention among all positions, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.heads = max(1, channels // CHANNELS_PER_HEAD)
        self.norm = group_norm(channels)
        self.project = convolution(channels, 3 * channels, side=1)
        self.out = zeroed(convolution(channels, channels, side=1))

    def forward(self, features: Tensor) -> Tensor:
        """Map features [b, c, h, w] to the same shape."""
        b, c, h, w = features.shape
        projected = self.project(self.norm(features)).reshape(b, 3, self.heads, -1, h * w)
        query, key, value = projected.transpose(3, 4).unbind(1)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        change: Tensor = self.out(mixed.transpose(2, 3).reshape(b, c, h, w))
        return features + change


class ConditionEmbedding(nn.Module):
    """An MLP of the condition, with a learned stand-in for "no condition".

    The stand-in is what classifier-free guidance (arXiv 2207.12598) contrasts a condition with.
    """

    def __init__(self, embed_dim: int, width: int) -> None:
        super().__init__()
        self.null = nn.Parameter(torch.zeros(embed_dim))
        self.layers = nn.Sequential(
            nn.Linear(embed_dim, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(self, condition: Tensor, dropped: Tensor) -> Tensor:
        """Embed condition [b, e] as [b, k]; rows where dropped [b] is True get the stand-in."""
        kept = torch.where(dropped[:, None], self.null, condition)
        embedded: Tensor = self.layers(kept)
        return embedded

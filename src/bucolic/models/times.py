"""A time in [0, 1] as a network sees it."""

import math

import torch
from torch import Tensor

FREQUENCIES = 32
TIME_FEATURES = 2 * FREQUENCIES
FASTEST_RADIANS = 200.0  # of the quickest feature over the unit interval


def fourier_features(times: Tensor) -> Tensor:
    """Sines and cosines of times [b] in [0, 1] at geometrically spaced frequencies: [b, 64]."""
    steps = torch.arange(FREQUENCIES, dtype=torch.float32, device=times.device)
    exponents = steps / (FREQUENCIES - 1)
    angles = times[:, None] * torch.exp(exponents * math.log(FASTEST_RADIANS))
    return torch.cat([angles.sin(), angles.cos()], dim=1)

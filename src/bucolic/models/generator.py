"""The whole trained model: conditioning, autoencoder and prior, and how pictures come out of it.

Each picture's noise is drawn from its own seed, and the networks always run on batches of the same
number of rows, the last one padded: the bytes of a picture do not depend on its company.

Dimensions: n pictures, s picture side in px, z latent channels, h = s/8 latent side, e embedding.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bucolic.base.errors import ParamsError
from bucolic.models.conditioning import Conditioning
from bucolic.models.config import DOWNSCALE, AutoencoderConfig, PriorConfig
from bucolic.models.cvae import Autoencoder
from bucolic.models.latent_prior import LatentPrior

ROWS_PER_BATCH = 16


class Generator(nn.Module):
    """Conditioning, autoencoder and prior, made for one picture side and one embedding width."""

    def __init__(
        self, autoencoder: AutoencoderConfig, prior: PriorConfig, *, size_px: int, embed_dim: int
    ) -> None:
        super().__init__()
        self.shapes = {
            "size_px": size_px,
            "embed_dim": embed_dim,
            "autoencoder": asdict(autoencoder),
            "prior": asdict(prior),
        }
        side = size_px // DOWNSCALE
        self.latent_shape = (autoencoder.latent_channels, side, side)
        self.conditioning = Conditioning(embed_dim)
        self.autoencoder = Autoencoder(autoencoder, embed_dim)
        self.prior = LatentPrior(prior, autoencoder.latent_channels, embed_dim)

    @torch.inference_mode()
    def conditions_of_texts(self, vectors: NDArray[np.float32]) -> Tensor:
        """Conditions [n, e] of raw text embeddings [n, e], on the CPU."""
        return self._in_batches(self.conditioning.of_texts, torch.from_numpy(vectors))

    @torch.inference_mode()
    def conditions_of_images(self, vectors: NDArray[np.float32]) -> Tensor:
        """Conditions [n, e] of raw picture embeddings [n, e], on the CPU."""
        return self._in_batches(self.conditioning.of_images, torch.from_numpy(vectors))

    @torch.inference_mode()
    def draw(
        self, conditions: Tensor, seeds: Sequence[int], *, guidance: float, steps: int
    ) -> Tensor:
        """Draw one picture for each condition.

        Args:
            conditions: [n, e], as `conditioning` makes them.
            seeds: n seeds, one a picture; see `picture_seed`.
            guidance: see `LatentPrior.sample`.
            steps: see `LatentPrior.sample`.

        Returns:
            uint8 [n, 3, s, s], on the CPU.

        Raises:
            ParamsError: so much guidance that the numbers overflow.
        """
        noise = torch.stack([_noise(seed, self.latent_shape) for seed in seeds])

        def draw_batch(noise: Tensor, conditions: Tensor) -> Tensor:
            latents = self.prior.sample(noise, conditions, guidance=guidance, steps=steps)
            if not latents.isfinite().all():
                raise ParamsError(f"guidance {guidance:g} overflows in {steps} steps: take less")
            return self._decode(latents, conditions)

        return self._in_batches(draw_batch, noise, conditions)

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Tensor:
        """Posterior means [n, z, h, h] of pictures uint8 [n, 3, s, s], on the CPU."""
        return self._in_batches(
            lambda batch: self.autoencoder.encoder(to_unit(batch)).mean, pictures
        )

    @torch.inference_mode()
    def decode(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Pictures uint8 [n, 3, s, s] of latents [n, z, h, h] under conditions [n, e]."""
        return self._in_batches(self._decode, latents, conditions)

    def _decode(self, latents: Tensor, conditions: Tensor) -> Tensor:
        kept = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        return to_uint8(self.autoencoder.decoder(latents, conditions, kept))

    def _in_batches(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Apply `function` to batches of equal, padded size."""
        device = self.conditioning.image_mean.device
        parts = []
        for start in range(0, len(inputs[0]), ROWS_PER_BATCH):
            batches = [tensor[start : start + ROWS_PER_BATCH] for tensor in inputs]
            out = function(*(_padded(batch).to(device) for batch in batches))
            parts.append(out[: len(batches[0])].cpu())
        return torch.cat(parts)


def picture_seed(seed: int, *place: int | str) -> int:
    """A seed of 63 bits for one picture, from the run's seed and the picture's place in it."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 pictures as float32 in [0, 1]."""
    return pictures.float() / 255


def to_uint8(pictures: Tensor) -> Tensor:
    """Pictures around [0, 1], clamped and rounded to uint8."""
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8)


def _noise(seed: int, shape: Sequence[int]) -> Tensor:
    # Drawn on the CPU, so a seed means the same noise on every device.
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def _padded(batch: Tensor) -> Tensor:
    padded = batch.new_zeros((ROWS_PER_BATCH, *batch.shape[1:]))
    padded[: len(batch)] = batch
    return padded

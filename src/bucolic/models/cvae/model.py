"""The CVAE as a whole: conditioning, autoencoder and latent prior, and how pictures come out of it.

Each picture's noise is drawn from its own seed.

Dimensions: n pictures, s picture side in px, z latent channels, h = s/8 latent side, e embedding.
"""

from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from bucolic.base.errors import ParamsError
from bucolic.models.cvae.autoencoder import Autoencoder
from bucolic.models.cvae.config import DOWNSCALE, AutoencoderConfig, PriorConfig
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.model import Model, noise_of, to_uint8, to_unit


class Cvae(Model):
    """Conditioning, autoencoder and prior, made for one picture side and one embedding width."""

    def __init__(
        self, autoencoder: AutoencoderConfig, prior: PriorConfig, *, size_px: int, embed_dim: int
    ) -> None:
        side = size_px // DOWNSCALE
        super().__init__(
            {"autoencoder": asdict(autoencoder), "prior": asdict(prior)},
            size_px=size_px,
            embed_dim=embed_dim,
            noise_shape=(autoencoder.latent_channels, side, side),
        )
        self.autoencoder = Autoencoder(autoencoder, embed_dim)
        self.prior = LatentPrior(prior, autoencoder.latent_channels, embed_dim)

    @torch.inference_mode()
    def draw(
        self, conditions: Tensor, seeds: Sequence[int], *, guidance: float, steps: int
    ) -> Tensor:
        """See `Model.draw`; guidance and steps are those of `LatentPrior.sample`."""
        noise = torch.stack([noise_of(seed, self.noise_shape) for seed in seeds])

        def draw_batch(noise: Tensor, conditions: Tensor) -> Tensor:
            latents = self.prior.sample(noise, conditions, guidance=guidance, steps=steps)
            if not latents.isfinite().all():
                raise ParamsError(f"guidance {guidance:g} overflows in {steps} steps: take less")
            return self._decode(latents, conditions)

        return self.in_batches(draw_batch, noise, conditions)

    def reconstruct(self, pictures: Tensor, conditions: Tensor) -> Tensor:
        """Posterior means of pictures uint8 [n, 3, s, s], decoded under conditions [n, e]."""
        return self.decode(self.encode(pictures), conditions)

    @torch.inference_mode()
    def encode(self, pictures: Tensor) -> Tensor:
        """Posterior means [n, z, h, h] of pictures uint8 [n, 3, s, s], on the CPU."""
        return self.in_batches(
            lambda batch: self.autoencoder.encoder(to_unit(batch)).mean, pictures
        )

    @torch.inference_mode()
    def decode(self, latents: Tensor, conditions: Tensor) -> Tensor:
        """Pictures uint8 [n, 3, s, s] of latents [n, z, h, h] under conditions [n, e]."""
        return self.in_batches(self._decode, latents, conditions)

    def _decode(self, latents: Tensor, conditions: Tensor) -> Tensor:
        kept = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        return to_uint8(self.autoencoder.decoder(latents, conditions, kept))

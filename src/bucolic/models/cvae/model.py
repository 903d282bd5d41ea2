"""The CVAE as a whole: conditioning, autoencoder and latent prior, and how pictures come out of it.

Each picture's noise is drawn from its own seed.

Dimensions: n pictures, s picture side in px, z latent channels, h = s/8 latent side, e embedding.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import torch
from torch import Tensor

from bucolic.base.errors import ParamsError
from bucolic.models.conditioning import Conditioning
from bucolic.models.cvae.autoencoder import Autoencoder, gaussian_nats
from bucolic.models.cvae.config import DOWNSCALE, AutoencoderConfig, PriorConfig
from bucolic.models.cvae.gaussian_prior import GaussianPrior
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.model import Model, noise_of, picture_seed, to_uint8, to_unit


class Cvae(Model):
    """Conditioning, autoencoder and prior, made for one picture side and one embedding width."""

    def __init__(
        self,
        autoencoder: AutoencoderConfig,
        prior: PriorConfig,
        latent_prior: str = "flow",
        text_prior: str = "ridge",
        text_draws: int = 0,
        *,
        size_px: int,
        embed_dim: int,
    ) -> None:
        side = size_px // DOWNSCALE
        shapes = {"autoencoder": asdict(autoencoder), "prior": asdict(prior)}
        chosen = {"latent_prior": latent_prior, "text_prior": text_prior, "text_draws": text_draws}
        super().__init__(
            shapes | chosen,
            size_px=size_px,
            embed_dim=embed_dim,
            noise_shape=(autoencoder.latent_channels, side, side),
        )
        self.autoencoder = Autoencoder(autoencoder, embed_dim)
        self.prior: LatentPrior | GaussianPrior = (
            GaussianPrior(prior.condition_width, self.noise_shape, embed_dim)
            if latent_prior == "gaussian"
            else LatentPrior(prior, autoencoder.latent_channels, embed_dim)
        )
        # Last: whatever it draws, the others' first weights are those of the seed.
        self.conditioning = Conditioning(embed_dim, text_prior, text_draws)

    @torch.inference_mode()
    def draw(
        self, conditions: Tensor, seeds: Sequence[int], *, guidance: float, steps: int
    ) -> Tensor:
        """See `Model.draw`; guidance and steps are those of `LatentPrior.sample`."""
        noise = torch.stack([noise_of(seed, self.noise_shape) for seed in seeds])
        return self.in_batches(
            lambda noise, conditions: self._draw(noise, conditions, guidance, steps),
            noise,
            conditions,
        )

    @torch.inference_mode()
    def redraw(
        self, pictures: Tensor, conditions: Tensor, targets: Tensor, *, guidance: float, steps: int
    ) -> Tensor:
        """See `Model.redraw`: the flow is followed back to noise, as unCLIP inverts DDIM."""

        def redraw_batch(batch: Tensor, conditions: Tensor, targets: Tensor) -> Tensor:
            latents = self.autoencoder.encoder(to_unit(batch)).mean
            noise = self.prior.noise_behind(latents, conditions, steps=steps)
            return self._draw(noise, targets, guidance, steps)

        return self.in_batches(redraw_batch, pictures, conditions, targets)

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

    def noised(
        self, pictures: Tensor, conditions: Tensor, seeds: Sequence[int], *, level: float
    ) -> Tensor:
        """See `Model.noised`; the latents' own spread is that of these pictures' latents."""
        noise = torch.stack([noise_of(seed, self.noise_shape) for seed in seeds])
        latents = self.encode(pictures)
        spread = latents.std((0, 2, 3), keepdim=True)
        return self.decode(latents + level * spread * noise, conditions)

    def squared_error(self, pictures: Tensor, conditions: Tensor, seed: int) -> Tensor:
        """Mean over pixel values of one posterior sample's error, which sets the optimal sigma."""
        seeds = [picture_seed(seed, "sigma", row) for row in range(len(pictures))]
        noise = torch.stack([noise_of(s, self.noise_shape) for s in seeds])

        def errors(batch: Tensor, conditions: Tensor, noise: Tensor) -> Tensor:
            posterior = self.autoencoder.encoder(to_unit(batch))
            decoded = self._decoded(posterior.sample(noise), conditions)
            return (decoded - to_unit(batch)).square().flatten(1).mean(1)

        with torch.inference_mode():
            return self.in_batches(errors, pictures, conditions, noise).mean()

    @torch.no_grad()  # no inference mode, in which nothing could be derived
    def likelihood(
        self, pictures: Tensor, conditions: Tensor, seeds: Sequence[int]
    ) -> Mapping[str, Tensor]:
        """See `Model.likelihood`; one posterior sample a picture, and one probe of the flow."""
        noise = torch.stack([noise_of(seed, self.noise_shape) for seed in seeds])
        probes = torch.stack([noise_of(picture_seed(s, "probe"), self.noise_shape) for s in seeds])

        def parts(batch: Tensor, conditions: Tensor, noise: Tensor, probes: Tensor) -> Tensor:
            posterior = self.autoencoder.encoder(to_unit(batch))
            latents = posterior.sample(noise)
            columns = [
                gaussian_nats(
                    self._decoded(latents, conditions), to_unit(batch), self.autoencoder.log_sigma
                ),
                posterior.kl(),
                -posterior.entropy()
                - self.prior.log_likelihood(latents, conditions, probes.sign()),
            ]
            return torch.cat([torch.stack(columns, 1), posterior.mean.flatten(1)], dim=1)

        found = self.in_batches(parts, pictures, conditions, noise, probes)
        names = ("reconstruction", "kl_standard_normal", "kl_latent_prior")
        return {**dict(zip(names, found.T, strict=False)), "means": found[:, len(names) :]}

    def _draw(self, noise: Tensor, conditions: Tensor, guidance: float, steps: int) -> Tensor:
        latents = self.prior.sample(noise, conditions, guidance=guidance, steps=steps)
        if not latents.isfinite().all():
            raise ParamsError(f"guidance {guidance:g} overflows in {steps} steps: take less")
        return self._decode(latents, conditions)

    def _decoded(self, latents: Tensor, conditions: Tensor) -> Tensor:
        kept = torch.zeros(len(latents), dtype=torch.bool, device=latents.device)
        pictures: Tensor = self.autoencoder.decoder(latents, conditions, kept)
        return pictures

    def _decode(self, latents: Tensor, conditions: Tensor) -> Tensor:
        return to_uint8(self._decoded(latents, conditions))

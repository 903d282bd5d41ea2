"""The original study's CVAE as a whole: N(0, I) in, pictures out, the condition as CLIP gives it.

Dimensions: n pictures, s picture side in px, e embedding.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from bucolic.base.errors import ParamsError
from bucolic.models.conditioning import Conditioning, Pairs
from bucolic.models.dlfp.config import SIDES_PX
from bucolic.models.dlfp.networks import LATENT_DIM, Autoencoder
from bucolic.models.model import Model, noise_of, to_uint8, to_unit


class RawConditioning(Conditioning):
    """Embeddings as they are: neither scaled nor centred, and no map from texts to pictures."""

    def of_images(self, vectors: Tensor) -> Tensor:
        """The raw embeddings [n, e] themselves."""
        return vectors

    def of_texts(self, vectors: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The raw embeddings [m, e] themselves."""
        return vectors

    def fit(self, train: Pairs, val: Pairs, seed: int = 0) -> float:  # noqa: ARG002 - nothing is fitted
        """Mean cosine between val's texts and their pictures."""
        return float(functional.cosine_similarity(val.texts, val.images[val.rows]).mean())


class Dlfp(Model):
    """One network that encodes and decodes, made for one picture side and one embedding width."""

    def __init__(self, dropout: float, *, size_px: int, embed_dim: int) -> None:
        if size_px not in SIDES_PX:
            raise ParamsError(f"shard.size_px: dlfp draws 64 or 128 px, not {size_px}")
        super().__init__(
            {"dropout": dropout},
            size_px=size_px,
            embed_dim=embed_dim,
            noise_shape=(2 * LATENT_DIM,),  # of a sample, and of dropout
        )
        self.conditioning = RawConditioning(embed_dim, text_prior="none")
        self.autoencoder = Autoencoder(size_px, embed_dim, dropout)

    @torch.inference_mode()
    def draw(
        self,
        conditions: Tensor,
        seeds: Sequence[int],
        *,
        guidance: float,  # noqa: ARG002 - there is nothing to guide
        steps: int,  # noqa: ARG002 - one pass
    ) -> Tensor:
        """See `Model.draw`; the latents are standard normal, guidance and steps change nothing."""
        noise = torch.stack([noise_of(seed, (LATENT_DIM,)) for seed in seeds])
        return self.in_batches(self._decoded, noise, conditions)

    def reconstruct(self, pictures: Tensor, conditions: Tensor) -> Tensor:
        """Posterior means of pictures uint8 [n, 3, s, s], decoded under conditions [n, e]."""
        return self.redraw(pictures, conditions, conditions, guidance=1, steps=1)

    @torch.inference_mode()
    def redraw(
        self,
        pictures: Tensor,
        conditions: Tensor,
        targets: Tensor,
        *,
        guidance: float,  # noqa: ARG002 - there is nothing to guide
        steps: int,  # noqa: ARG002 - one pass
    ) -> Tensor:
        """See `Model.redraw`: the latents are the noise, and both conditions have a place."""

        def redraw_batch(batch: Tensor, conditions: Tensor, targets: Tensor) -> Tensor:
            mean, _ = self.autoencoder.encoder(to_unit(batch), conditions)
            return self._decoded(mean, targets)

        return self.in_batches(redraw_batch, pictures, conditions, targets)

    def _decoded(self, latents: Tensor, conditions: Tensor) -> Tensor:
        return to_uint8(self.autoencoder.decoder(latents, conditions).sigmoid())

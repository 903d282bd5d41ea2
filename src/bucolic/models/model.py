"""What every kind of model is: conditions from embeddings, and pictures from conditions.

On one kind of device networks always run on batches of the same number of rows, the last one
padded: the bytes of a picture do not depend on its company.

Dimensions: n pictures, s picture side in px, e embedding.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bucolic.models.conditioning import Conditioning

# Rows that are not there are computed, too: few of them where that takes time. Of CUDA a guess.
ROWS_PER_BATCH = {"cuda": 64}
FEW_ROWS = 16


class Model(nn.Module, ABC):
    """Conditioning, and whatever networks a kind has, for one picture side and embedding width.

    Attributes:
        shapes: what config.json holds of it, by which it can be built again.
        noise_shape: of the noise that a training row gets.
        conditioning: from raw embeddings to conditions; fitted before training.
    """

    def __init__(
        self, shapes: Mapping[str, Any], *, size_px: int, embed_dim: int, noise_shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.shapes = {"size_px": size_px, "embed_dim": embed_dim, **shapes}
        self.noise_shape = tuple(noise_shape)
        self.conditioning = Conditioning(embed_dim)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.conditioning.image_mean.device

    def placed(self, device: str) -> Self:
        """The model on a torch device, its kernels laid out channels last.

        Convolutions compute in that layout at once, which saves a quarter or more on a CPU.
        """
        return self.to(torch.device(device)).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def conditions_of_texts(
        self, vectors: NDArray[np.float32], seeds: Sequence[int] = ()
    ) -> Tensor:
        """Conditions [n, e] of raw text embeddings [n, e], on the CPU.

        Args:
            vectors: [n, e].
            seeds: n seeds, of what a text prior draws where it draws; none: the expected ones.
        """
        inputs = [torch.from_numpy(vectors)]
        if seeds and (draws := self.conditioning.text_draws):
            shape = draws, vectors.shape[1]
            inputs.append(torch.stack([noise_of(seed, shape) for seed in seeds]))
        return self.in_batches(self.conditioning.of_texts, *inputs)

    @torch.inference_mode()
    def conditions_of_images(self, vectors: NDArray[np.float32]) -> Tensor:
        """Conditions [n, e] of raw picture embeddings [n, e], on the CPU."""
        return self.in_batches(self.conditioning.of_images, torch.from_numpy(vectors))

    @abstractmethod
    def draw(
        self, conditions: Tensor, seeds: Sequence[int], *, guidance: float, steps: int
    ) -> Tensor:
        """Draw one picture for each condition.

        Args:
            conditions: [n, e], as `conditioning` makes them.
            seeds: n seeds, one a picture; see `picture_seed`.
            guidance: how much to exaggerate what a condition changes; 1 follows it.
            steps: of the sampler.

        Returns:
            uint8 [n, 3, s, s], on the CPU.

        Raises:
            ParamsError: so much guidance that the numbers overflow.
        """

    @abstractmethod
    def reconstruct(self, pictures: Tensor, conditions: Tensor) -> Tensor:
        """Pictures uint8 [n, 3, s, s] through the model and back, under conditions [n, e]."""

    def redraw(
        self,
        pictures: Tensor,  # noqa: ARG002 - a kind that can tell a picture's noise overrides this
        conditions: Tensor,  # noqa: ARG002
        targets: Tensor,  # noqa: ARG002
        *,
        guidance: float,  # noqa: ARG002
        steps: int,  # noqa: ARG002
    ) -> Tensor | None:
        """Pictures again, from the noise that is behind them, under other conditions.

        Args:
            pictures: uint8 [n, 3, s, s].
            conditions: [n, e], the pictures' own, under which the noise is found.
            targets: [n, e], under which it is drawn from.
            guidance: see `draw`; 1 gives back the pictures, as near as the kind can, for targets
                that equal the conditions.
            steps: of the sampler, either way.

        Returns:
            uint8 [n, 3, s, s], on the CPU. None for a kind that has no way back.
        """
        return None

    def likelihood(
        self,
        pictures: Tensor,  # noqa: ARG002 - a kind that has a likelihood overrides this
        conditions: Tensor,  # noqa: ARG002
        seeds: Sequence[int],  # noqa: ARG002
    ) -> Mapping[str, Tensor] | None:
        """Parts of a bound on the log likelihood, where the kind has one.

        Args:
            pictures: uint8 [n, 3, s, s].
            conditions: [n, e].
            seeds: of what the estimates draw, one a picture.

        Returns:
            By name a float32 [n], in nats: `reconstruction`, -log p(x|z,c) of pixel values in
            [0, 1]; `kl_standard_normal`, of the posterior to N(0, I); `kl_latent_prior`, to p(z|c).
            And `means` [n, d], what the posterior's units say. None for a kind without a bound.
        """
        return None

    def noised(
        self,
        pictures: Tensor,  # noqa: ARG002 - see likelihood
        conditions: Tensor,  # noqa: ARG002
        seeds: Sequence[int],  # noqa: ARG002
        *,
        level: float,  # noqa: ARG002
    ) -> Tensor | None:
        """Pictures uint8 [n, 3, s, s] from latents of pictures with noise on them.

        Args:
            pictures: uint8 [n, 3, s, s].
            conditions: [n, e].
            seeds: of the noise, one a picture.
            level: its standard deviation, in units of the latents' own. None without latents.
        """
        return None

    def in_batches(self, function: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Apply `function` to batches of equal, padded size; the result is on the CPU."""
        parts = []
        rows = ROWS_PER_BATCH.get(self.device.type, FEW_ROWS)
        for start in range(0, len(inputs[0]), rows):
            batches = [tensor[start : start + rows] for tensor in inputs]
            out = function(*(_padded(batch, rows).to(self.device) for batch in batches))
            parts.append(out[: len(batches[0])].cpu())
        return torch.cat(parts)


def picture_seed(seed: int, *place: int | str) -> int:
    """A seed of 63 bits for one picture, from the run's seed and the picture's place in it."""
    text = "/".join(str(part) for part in (seed, *place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def noise_of(seed: int, shape: Sequence[int]) -> Tensor:
    """Standard normal float32 noise, drawn on the CPU: a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(tuple(shape), generator=generator, dtype=torch.float32, device="cpu")


def to_unit(pictures: Tensor) -> Tensor:
    """uint8 pictures as float32 in [0, 1]."""
    return pictures.float() / 255


def to_uint8(pictures: Tensor) -> Tensor:
    """Pictures around [0, 1], clamped and rounded to uint8."""
    return (pictures.clamp(0, 1) * 255).round().to(torch.uint8)


def _padded(batch: Tensor, rows: int) -> Tensor:
    padded = batch.new_zeros((rows, *batch.shape[1:]))
    padded[: len(batch)] = batch
    return padded

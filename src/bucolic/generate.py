"""The public Python API over a trained model.

    model = Bucolic.from_pretrained(Path("models/current"))
    pictures = model.generate(["two cows under a blue sky"], n=8)   # uint8 [1, 8, 3, s, s]

Picture i of prompt number p depends on (seed, p, i) and the prompt alone, not on how many others
are asked for. On one device kind and with one number of threads the bytes are the same each time.
"""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bucolic.clip import meadow_clip
from bucolic.clip.config import ClipConfig
from bucolic.clip.towers import Towers, load_towers
from bucolic.data.embeddings import check_same_towers
from bucolic.errors import DataError, ParamsError
from bucolic.models.generator import Generator, picture_seed
from bucolic.models.store import read_model
from bucolic.runtime import choose_device

logger = logging.getLogger(__name__)
Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class Bucolic:
    """A trained model that draws pictures for prompts.

    Attributes:
        generator: the networks.
        config: the content of config.json.
        device: torch device.
    """

    def __init__(self, generator: Generator, config: dict[str, Any], device: str) -> None:
        self.generator = generator
        self.config = config
        self.device = device

    @classmethod
    def from_pretrained(cls, folder: Path, device: str = "auto") -> "Bucolic":
        """Load the folder that the train stage wrote.

        Raises:
            DataError: a file is missing, broken or of another version.
        """
        device = choose_device(device)
        return cls(*read_model(folder, device), device)

    @property
    def size_px(self) -> int:
        """Side of the pictures it draws."""
        return int(self.config["size_px"])

    @cached_property
    def towers(self) -> Towers:
        """The CLIP whose embeddings the model was trained on, loaded when first needed.

        Raises:
            DataError: the CLIP that can be had now is another one.
        """
        towers = load_towers(ClipConfig(**self.config["clip_config"]), self.device)
        check_same_towers(towers.provenance, self.config["clip"], "the model")
        return towers

    def generate(
        self,
        prompts: Sequence[str],
        *,
        n: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> Pictures:
        """Draw `n` pictures for each prompt.

        Args:
            prompts: texts; a word that CLIP never learnt is named in a warning.
            n: pictures for each prompt.
            seed: of the noise.
            guidance: how much to exaggerate what the prompt changes; None takes the one that was
                chosen on the val split.
            steps: steps of the flow; None likewise.

        Returns:
            uint8 [prompts, n, 3, s, s].

        Raises:
            ParamsError: a prompt is empty, or a number out of range.
        """
        if empty := [place for place, prompt in enumerate(prompts) if not prompt.strip()]:
            raise ParamsError(f"prompt number {empty[0] + 1} is empty: say what to draw")
        if self.config["clip_config"]["model"] == meadow_clip.NAME:
            _warn_of_unknown_words(prompts)
        vectors = self.towers.embed_texts(prompts)
        return self.generate_from_vectors(vectors, n=n, seed=seed, guidance=guidance, steps=steps)

    def generate_from_vectors(
        self,
        text_vectors: Vectors,
        *,
        n: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> Pictures:
        """Draw pictures for raw text embeddings [p, e] of the model's own CLIP; see `generate`.

        Returns:
            uint8 [p, n, 3, s, s].
        """
        sampling = self.config["sampling"]
        guidance = sampling["guidance"] if guidance is None else guidance
        steps = sampling["steps"] if steps is None else steps
        if n < 1 or steps < 1 or guidance < 0:
            raise ParamsError("n and steps must be at least 1, and guidance at least 0")
        self._check_vectors(text_vectors)
        prompts = len(text_vectors)
        conditions = self.generator.conditions_of_texts(text_vectors).repeat_interleave(n, dim=0)
        seeds = [picture_seed(seed, prompt, i) for prompt in range(prompts) for i in range(n)]
        pictures = self.generator.draw(conditions, seeds, guidance=guidance, steps=steps)
        return pictures.numpy().reshape(prompts, n, 3, self.size_px, self.size_px)

    def reconstruct(self, images: Pictures, image_vectors: Vectors) -> Pictures:
        """Encode and decode pictures: posterior means, under the pictures' own raw embeddings.

        Args:
            images: uint8 [n, 3, s, s].
            image_vectors: [n, e].

        Returns:
            uint8 [n, 3, s, s].
        """
        self._check_vectors(image_vectors)
        latents = self.generator.encode(torch.from_numpy(images))
        conditions = self.generator.conditions_of_images(image_vectors)
        return self.generator.decode(latents, conditions).numpy()

    def _check_vectors(self, vectors: Vectors) -> None:
        width = self.config["embed_dim"]
        if vectors.ndim != 2 or vectors.shape[1] != width:
            raise DataError(f"the model takes embeddings [n, {width}], not {list(vectors.shape)}")


def _warn_of_unknown_words(prompts: Sequence[str]) -> None:
    for prompt in prompts:
        if unknown := meadow_clip.unknown_words(prompt):
            logger.warning("%r: %s never learnt %s", prompt, meadow_clip.NAME, ", ".join(unknown))

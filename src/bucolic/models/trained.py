"""A trained model between arrays: embeddings in, pictures out, however many callers ask.

What it is given is taken as it is: `bucolic.generate` checks what comes from users.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bucolic.models.model import Model, picture_seed
from bucolic.models.store import read_model

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]


class TrainedModel:
    """A model with the content of its config.json.

    Attributes:
        model: the networks.
        config: see models/store.py.
    """

    def __init__(self, model: Model, config: dict[str, Any]) -> None:
        self.model = model
        self.config = config

    @classmethod
    def read(cls, folder: Path, device: str) -> "TrainedModel":
        """Read the folder that the train stage wrote onto a torch device.

        Raises:
            DataError: a file is missing, broken or of another version.
        """
        return cls(*read_model(folder, device))

    @property
    def size_px(self) -> int:
        """Side of the pictures it draws."""
        return int(self.config["size_px"])

    def draw(
        self,
        text_vectors: Vectors,
        *,
        n: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> Pictures:
        """Draw `n` pictures for each raw text embedding [p, e].

        Picture i of prompt number p depends on (seed, p, i) and its embedding alone. Guidance and
        steps that are None are those that were chosen on the val split.

        Returns:
            uint8 [p, n, 3, s, s].
        """
        chosen = self.config["sampling"]
        prompts = len(text_vectors)
        conditions = self.model.conditions_of_texts(text_vectors).repeat_interleave(n, dim=0)
        pictures = self.model.draw(
            conditions,
            [picture_seed(seed, prompt, i) for prompt in range(prompts) for i in range(n)],
            guidance=chosen["guidance"] if guidance is None else guidance,
            steps=chosen["steps"] if steps is None else steps,
        )
        return pictures.numpy().reshape(prompts, n, 3, self.size_px, self.size_px)

    def reconstruct(self, images: Pictures, image_vectors: Vectors) -> Pictures:
        """Pictures [n, 3, s, s] through the model and back under their own embeddings [n, e]."""
        conditions = self.model.conditions_of_images(image_vectors)
        return self.model.reconstruct(torch.from_numpy(images), conditions).numpy()

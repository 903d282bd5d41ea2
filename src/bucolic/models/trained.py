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
        candidate: int = 0,
    ) -> Pictures:
        """Draw `n` pictures for each raw text embedding [p, e].

        Picture i of prompt number p depends on (seed, p, i, candidate) and its embedding alone.
        Guidance and steps that are None are those that were chosen on the val split.

        Returns:
            uint8 [p, n, 3, s, s].
        """
        chosen = self.config["sampling"]
        prompts, more = len(text_vectors), (candidate,) if candidate else ()
        conditions = self.model.conditions_of_texts(text_vectors).repeat_interleave(n, dim=0)
        pictures = self.model.draw(
            conditions,
            [picture_seed(seed, prompt, i, *more) for prompt in range(prompts) for i in range(n)],
            guidance=chosen["guidance"] if guidance is None else guidance,
            steps=chosen["steps"] if steps is None else steps,
        )
        return pictures.numpy().reshape(prompts, n, 3, self.size_px, self.size_px)

    def draw_of_images(self, image_vectors: Vectors, *, seed: int = 0) -> Pictures:
        """A picture for each raw picture embedding [n, e], as sampling was chosen on val.

        Picture i depends on (seed, i) and its embedding alone; uint8 [n, 3, s, s].
        """
        seeds = [picture_seed(seed, "of image", i) for i in range(len(image_vectors))]
        conditions = self.model.conditions_of_images(image_vectors)
        return self.model.draw(conditions, seeds, **self.config["sampling"]).numpy()

    def noised(
        self, images: Pictures, image_vectors: Vectors, *, level: float, seed: int = 0
    ) -> Pictures | None:
        """Pictures [n, 3, s, s] through latents with noise on them; see `Model.noised`."""
        seeds = [picture_seed(seed, "noised", i) for i in range(len(images))]
        conditions = self.model.conditions_of_images(image_vectors)
        found = self.model.noised(torch.from_numpy(images), conditions, seeds, level=level)
        return None if found is None else found.numpy()

    def likelihood(
        self, images: Pictures, image_vectors: Vectors, *, seed: int = 0
    ) -> dict[str, NDArray[np.float32]] | None:
        """Parts of the bound on the log likelihood; see `Model.likelihood`.

        Args:
            images: uint8 [n, 3, s, s].
            image_vectors: float32 [n, e], their raw embeddings.
            seed: of what the estimates draw.
        """
        seeds = [picture_seed(seed, "likelihood", i) for i in range(len(images))]
        conditions = self.model.conditions_of_images(image_vectors)
        found = self.model.likelihood(torch.from_numpy(images), conditions, seeds)
        return None if found is None else {name: part.numpy() for name, part in found.items()}

    def reconstruct(self, images: Pictures, image_vectors: Vectors) -> Pictures:
        """Pictures [n, 3, s, s] through the model and back under their own embeddings [n, e]."""
        conditions = self.model.conditions_of_images(image_vectors)
        return self.model.reconstruct(torch.from_numpy(images), conditions).numpy()

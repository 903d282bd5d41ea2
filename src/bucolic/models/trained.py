"""A trained model between arrays: embeddings in, pictures out, however many callers ask.

What it is given is taken as it is: `bucolic.generate` checks what comes from users.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from bucolic.base.errors import ParamsError
from bucolic.models.arcs import slerp
from bucolic.models.model import Model, picture_seed
from bucolic.models.store import read_model

Pictures = NDArray[np.uint8]
Vectors = NDArray[np.float32]
LEAST_DIFFERENCE = 1e-3  # of two conditions, whose length is the root of their width


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
        prompts, more = len(text_vectors), (candidate,) if candidate else ()
        seeds = [
            picture_seed(seed, prompt, i, *more) for prompt in range(prompts) for i in range(n)
        ]
        conditions = self.model.conditions_of_texts(
            np.repeat(text_vectors, n, axis=0), [picture_seed(each, "text") for each in seeds]
        )
        pictures = self.model.draw(conditions, seeds, **self._sampling(guidance, steps))
        return pictures.numpy().reshape(prompts, n, 3, self.size_px, self.size_px)

    def vary(
        self,
        image_vectors: Vectors,
        *,
        n: int = 1,
        seed: int = 0,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> Pictures:
        """Draw `n` pictures for each raw picture embedding [p, e]; see `draw`.

        Returns:
            uint8 [p, n, 3, s, s].
        """
        images = len(image_vectors)
        seeds = [picture_seed(seed, "variation", p, i) for p in range(images) for i in range(n)]
        conditions = self.model.conditions_of_images(image_vectors).repeat_interleave(n, dim=0)
        pictures = self.model.draw(conditions, seeds, **self._sampling(guidance, steps)).numpy()
        return pictures.reshape(images, n, *pictures.shape[1:])

    def interpolate(
        self,
        first: Vectors,
        last: Vectors,
        *,
        frames: int,
        seed: int = 0,
        guidance: float | None = None,
        steps: int | None = None,
    ) -> Pictures:
        """Pictures on the arc between two raw picture embeddings [e], all from one noise.

        Returns:
            uint8 [frames, 3, s, s], the ends included.
        """
        ends = self.model.conditions_of_images(np.stack([first, last]))
        starts, stops = (end.expand(frames, -1) for end in ends)
        conditions = slerp(starts, stops, torch.linspace(0, 1, frames, dtype=torch.float64))
        seeds = [picture_seed(seed, "between")] * frames
        return self.model.draw(conditions, seeds, **self._sampling(guidance, steps)).numpy()

    def edit(
        self,
        picture: Pictures,
        image_vector: Vectors,
        text_vectors: Vectors,
        *,
        amounts: Sequence[float],
        guidance: float,
        steps: int,
    ) -> Pictures | None:
        """A picture uint8 [3, s, s] turned from what one text says towards what another one does.

        The text difference of unCLIP (arXiv 2204.06125, section 3.3): the condition of the picture
        goes along the arc to the direction in which the texts differ, and is drawn from the noise
        that is behind the picture.

        Args:
            picture: to be turned.
            image_vector: its raw embedding [e].
            text_vectors: raw embeddings [2, e] of what it says, and of what it shall say.
            amounts: shares of the arc, in [0, 1]; 0 leaves the condition as it is.
            guidance: see `Model.redraw`.
            steps: likewise.

        Returns:
            uint8 [amounts, 3, s, s]; None for a kind that cannot tell the noise behind a picture.

        Raises:
            ParamsError: the texts say the same, or the picture is said to be the opposite.
        """
        former, latter = self.model.conditions_of_texts(text_vectors)
        if not bool((latter - former).norm() > LEAST_DIFFERENCE):
            raise ParamsError("both texts say the same: there is nothing to change")
        own = self.model.conditions_of_images(image_vector[None])
        direction = functional.normalize(latter - former, dim=0) * own.norm()
        owns, directions = (c.expand(len(amounts), -1) for c in (own, direction))
        targets = slerp(owns, directions, torch.tensor(amounts, dtype=torch.float64))
        pictures = torch.from_numpy(picture).expand(len(amounts), -1, -1, -1)
        drawn = self.model.redraw(pictures, owns, targets, guidance=guidance, steps=steps)
        return None if drawn is None else drawn.numpy()

    def _sampling(self, guidance: float | None, steps: int | None) -> dict[str, Any]:
        """The one given, else what was chosen on the val split."""
        given = {"guidance": guidance, "steps": steps}
        return {**self.config["sampling"], **{k: v for k, v in given.items() if v is not None}}

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

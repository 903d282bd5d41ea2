"""The public Python API over a trained model.

    model = Bucolic.from_pretrained("models/current")
    pictures = model.generate(["two cows under a blue sky"], n=8)   # uint8 [1, 8, 3, s, s]

Picture i of prompt number p depends on (seed, p, i) and the prompt alone, not on how many others
are asked for. On one device kind and with one number of threads the bytes are the same each time.
Any number of Python threads may ask one model, and get what each would get alone; torch's modes of
the caller (autocast, default devices and types) change nothing. Fork before torch has computed
anything, or spawn: OpenMP hangs in the forked child of a process that has.
"""

import logging
import os
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from bucolic.api.ambient import drawing_modes, loading_modes
from bucolic.api.arguments import (
    CANDIDATES,
    COUNTS,
    STEPS,
    cut,
    finite_number,
    folder_of,
    pictures_of,
    prompts_of,
    shown,
    vectors_of,
    whole_number,
)
from bucolic.base.device import choose_device
from bucolic.base.errors import DataError
from bucolic.data.embeddings import check_same_towers
from bucolic.models.model import Model
from bucolic.models.store import read_model
from bucolic.models.trained import TrainedModel
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import SHIPPED, unknown_words
from bucolic.seeing.clip.towers import Towers, load_towers
from bucolic.seeing.jury import embedded
from bucolic.seeing.metrics.similarity import clip_similarity

logger = logging.getLogger(__name__)
Pictures = NDArray[np.uint8]
Vectors = NDArray[np.floating]
_LOADING = threading.Lock()  # not the model's own, which could then not be pickled


@dataclass(frozen=True)
class _Request:
    """What is asked of the model besides the prompts, checked."""

    n: int
    seed: int
    guidance: float
    steps: int
    best_of: int


class Bucolic:
    """A trained model that draws pictures for prompts.

    Attributes:
        device: torch device.
    """

    def __init__(self, model: Model, config: dict[str, Any], device: str) -> None:
        self._trained = TrainedModel(model, config)
        self.device = device
        self._towers: Towers | None = None

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str], device: str = "auto") -> "Bucolic":
        """Load the folder that the train stage wrote.

        Args:
            folder: a path; a leading ~ is the user's home.
            device: "auto", "cpu", "cuda", "cuda:1" or "mps".

        Raises:
            DataError: a file is missing, broken or of another version.
            ParamsError: `folder` is no path, or this machine has no such device.
        """
        path, device = folder_of(folder), choose_device(device)
        with loading_modes():
            return cls(*read_model(path, device), device)

    @property
    def model(self) -> Model:
        """The networks."""
        return self._trained.model

    @property
    def config(self) -> dict[str, Any]:
        """The content of config.json."""
        return self._trained.config

    @property
    def size_px(self) -> int:
        """Side of the pictures it draws."""
        return self._trained.size_px

    @property
    def towers(self) -> Towers:
        """The CLIP whose embeddings the model was trained on, loaded once, when first needed.

        Raises:
            DataError: the CLIP that can be had now is another one.
        """
        if self._towers is None:
            with _LOADING:
                self._towers = self._towers or self._load_towers()
        return self._towers

    def _load_towers(self) -> Towers:
        with loading_modes():
            towers = load_towers(ClipConfig(**self.config["clip_config"]), self.device)
        check_same_towers(towers.provenance, self.config["clip"], "the model")
        return towers

    @drawing_modes()
    def generate(
        self,
        prompts: str | Iterable[str],
        *,
        n: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        guidance: float | None = None,
        steps: SupportsIndex | None = None,
        best_of: SupportsIndex = 1,
    ) -> Pictures:
        """Draw `n` pictures for each prompt.

        Args:
            prompts: texts in an order, or one text, which is one prompt; a word that CLIP never
                learnt is named in a warning.
            n: pictures for each prompt, 1 to 100,000.
            seed: of the noise; any integer.
            guidance: how much to exaggerate what the prompt changes; None takes the one that was
                chosen on the val split. At least 0.
            steps: steps of the flow, 1 to 10,000; None likewise.
            best_of: candidates for each picture, 1 to 100, of which the one nearest to the prompt
                by CLIP's cosine is kept, as unCLIP kept the better of two (arXiv 2204.06125).

        Returns:
            uint8 [prompts, n, 3, s, s].

        Raises:
            ParamsError: a prompt is empty or no text, or a number no number or out of range.
        """
        texts, request = prompts_of(prompts), self._request(n, seed, guidance, steps, best_of)
        if (clip := self.config["clip_config"]["model"]) in SHIPPED:
            _warn_of_unknown_words(texts, clip)
        return self._draw(self.towers.embed_texts(texts), request)

    @drawing_modes()
    def generate_from_vectors(
        self,
        text_vectors: Vectors,
        *,
        n: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        guidance: float | None = None,
        steps: SupportsIndex | None = None,
        best_of: SupportsIndex = 1,
    ) -> Pictures:
        """Draw pictures for raw text embeddings [p, e] of the model's own CLIP; see `generate`.

        Args:
            text_vectors: of any float type.
            n: see `generate`, as the others.
            seed: likewise.
            guidance: likewise.
            steps: likewise.
            best_of: likewise.

        Returns:
            uint8 [p, n, 3, s, s].

        Raises:
            DataError: the vectors have another type or shape, or are not finite.
            ParamsError: a number is none, or out of range.
        """
        vectors = vectors_of("text_vectors", text_vectors, self.config["embed_dim"])
        return self._draw(vectors, self._request(n, seed, guidance, steps, best_of))

    @drawing_modes()
    def reconstruct(self, images: Pictures, image_vectors: Vectors) -> Pictures:
        """Encode and decode pictures: posterior means, under the pictures' own raw embeddings.

        Args:
            images: uint8 [n, 3, s, s].
            image_vectors: [n, e] of any float type.

        Returns:
            uint8 [n, 3, s, s].

        Raises:
            DataError: an array has another type or shape, or is not finite.
        """
        pictures = pictures_of("images", images, self.size_px)
        vectors = vectors_of("image_vectors", image_vectors, self.config["embed_dim"])
        if len(pictures) != len(vectors):
            raise DataError(f"{len(pictures)} images, but {len(vectors)} image_vectors")
        return self._trained.reconstruct(pictures, vectors)

    def _request(
        self, n: object, seed: object, guidance: object, steps: object, best_of: object
    ) -> _Request:
        sampling = self.config["sampling"]
        return _Request(
            n=whole_number("n", n, COUNTS),
            seed=whole_number("seed", seed),
            guidance=finite_number(
                "guidance", sampling["guidance"] if guidance is None else guidance, least=0
            ),
            steps=whole_number("steps", sampling["steps"] if steps is None else steps, STEPS),
            best_of=whole_number("best_of", best_of, CANDIDATES),
        )

    def _draw(self, vectors: NDArray[np.float32], request: _Request) -> Pictures:
        asked = {name: value for name, value in vars(request).items() if name != "best_of"}
        best = self._trained.draw(vectors, **asked)
        if request.best_of == 1:
            return best
        fits = self._fits(best, vectors)
        for candidate in range(1, request.best_of):
            drawn = self._trained.draw(vectors, **asked, candidate=candidate)
            found = self._fits(drawn, vectors)
            best[found > fits], fits = drawn[found > fits], np.maximum(fits, found)
        return best

    def _fits(self, pictures: Pictures, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosine of each picture [p, n, ...] with its prompt, by the model's CLIP: [p, n]."""
        prompts, n = pictures.shape[:2]
        seen = embedded(self.towers, pictures.reshape(-1, *pictures.shape[2:]))
        return clip_similarity(seen, vectors.repeat(n, axis=0)).reshape(prompts, n)


def _warn_of_unknown_words(prompts: Sequence[str], clip: str) -> None:
    for prompt in prompts:
        if unknown := unknown_words(prompt):
            words = cut(", ".join(unknown))
            logger.warning("%s: %s never learnt %s", shown(prompt), clip, words)

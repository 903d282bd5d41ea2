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
from functools import cached_property
from typing import Any, SupportsIndex

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from bucolic.api.ambient import drawing_modes, loading_modes
from bucolic.api.arguments import (
    CANDIDATES,
    COUNTS,
    FRAMES,
    STEPS,
    cut,
    finite_number,
    path_of,
    pictures_of,
    prompts_of,
    shown,
    vectors_of,
    whole_number,
)
from bucolic.api.images import Image, Images, images_of, one_image, pixels_of
from bucolic.base.device import choose_device
from bucolic.base.errors import DataError, ParamsError
from bucolic.data.embeddings import check_same_towers
from bucolic.models.model import Model
from bucolic.models.store import read_model, weights_digest
from bucolic.models.trained import TrainedModel
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import SHIPPED, unknown_words
from bucolic.seeing.clip.towers import Towers, load_towers
from bucolic.seeing.jury import embedded
from bucolic.seeing.metrics.similarity import clip_similarity, normalised

logger = logging.getLogger(__name__)
Pictures = NDArray[np.uint8]
Vectors = NDArray[np.floating]
EDIT_STEPS = 32  # with fewer, the way to noise and back changes the picture by itself
_LOADING = threading.Lock()  # not the model's own, which could then not be pickled


@dataclass(frozen=True)
class _Request:
    """What is asked of the model besides the prompts, checked."""

    n: int
    seed: int
    guidance: float
    steps: int
    best_of: int

    @property
    def sampling(self) -> dict[str, Any]:
        """What `TrainedModel` is asked with."""
        return {name: value for name, value in vars(self).items() if name != "best_of"}


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
        path, device = path_of("folder", folder), choose_device(device)
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

    @cached_property
    def digests(self) -> dict[str, str]:
        """SHA-256 of model.safetensors, and of the train split where config.json names it."""
        found = {"model": weights_digest(self.model), **self.config.get("data", {})}
        return {f"{name}_sha256": digest for name, digest in found.items()}

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
        try:
            clip = ClipConfig(**self.config["clip_config"])
        except (TypeError, ValidationError):
            raise DataError("config.json's clip_config loads no CLIP: train again") from None
        with loading_modes():
            towers = load_towers(clip, self.device)
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
        self._warn_of_unknown_words(texts)
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
    def vary(
        self,
        images: Images,
        *,
        n: SupportsIndex = 1,
        seed: SupportsIndex = 0,
        guidance: float | None = None,
        steps: SupportsIndex | None = None,
    ) -> Pictures:
        """Draw `n` variations of each picture: what CLIP sees stays, the rest is left to chance.

        Args:
            images: a path, a Pillow image or an array uint8 [3, h, w] of any size; or a list.
            n: see `generate`, as the others.
            seed: likewise.
            guidance: likewise.
            steps: likewise.

        Returns:
            uint8 [images, n, 3, s, s].

        Raises:
            DataError: a file is not there, or no picture.
            ParamsError: `images` is nothing of these, or a number none or out of range.
        """
        request = self._request(n, seed, guidance, steps)
        vectors = self.towers.embed_images(images_of("images", images))
        return self._trained.vary(vectors, **request.sampling)

    @drawing_modes()
    def interpolate(
        self,
        first: Image,
        last: Image,
        *,
        frames: SupportsIndex = 5,
        seed: SupportsIndex = 0,
        guidance: float | None = None,
        steps: SupportsIndex | None = None,
    ) -> Pictures:
        """Draw pictures between what CLIP sees of two pictures, all from the same noise.

        Args:
            first: a path, a Pillow image or an array uint8 [3, h, w] of any size.
            last: likewise.
            frames: 2 to 1,000; the ends are variations of the two pictures.
            seed: see `generate`, as the others.
            guidance: likewise.
            steps: likewise.

        Returns:
            uint8 [frames, 3, s, s].

        Raises:
            DataError: a file is not there, or no picture.
            ParamsError: another argument does not fit, or the two are seen as opposites.
        """
        number = whole_number("frames", frames, FRAMES[1:])
        request = self._request(1, seed, guidance, steps)
        asked = {key: value for key, value in request.sampling.items() if key != "n"}
        ends = self.towers.embed_images([one_image("first", first), one_image("last", last)])
        return self._trained.interpolate(*ends, frames=number, **asked)

    @drawing_modes()
    def edit(
        self,
        image: Image,
        before: str,
        after: str,
        *,
        amount: float = 0.5,
        frames: SupportsIndex = 5,
        guidance: float | None = None,
        steps: SupportsIndex | None = None,
    ) -> Pictures:
        """Turn a picture from what one text says towards what another one does.

        The pictures are drawn from the noise that is behind the given one, so nothing is random.

        Args:
            image: a path, a Pillow image or an array uint8 [3, h, w] of any size.
            before: what the picture shows, "a brown cow".
            after: what it shall show, "a white sheep".
            amount: how far the last picture goes: 0 not at all, 1 to where only the difference of
                the texts is left.
            frames: pictures on the way, 1 to 1,000, evenly spread from `amount` / `frames` on.
            guidance: at least 0; None: 1, which changes least besides.
            steps: of the flow, either way; None: 32.

        Returns:
            uint8 [frames, 3, s, s].

        Raises:
            DataError: a file is not there, or no picture.
            ParamsError: an argument does not fit, the texts say the same, or the model is of a kind
                without a way back to noise.
        """
        number = whole_number("frames", frames, FRAMES)
        last = finite_number("amount", amount, least=0, most=1)
        request = self._request(
            1, 0, 1.0 if guidance is None else guidance, EDIT_STEPS if steps is None else steps
        )
        texts = prompts_of([before, after])
        picture = one_image("image", image)
        self._warn_of_unknown_words(texts)
        drawn = self._trained.edit(
            pixels_of([picture], self.size_px)[0],
            self.towers.embed_images([picture])[0],
            self.towers.embed_texts(texts),
            amounts=[last * (frame + 1) / number for frame in range(number)],
            guidance=request.guidance,
            steps=request.steps,
        )
        if drawn is None:
            kind = self.config.get("kind")
            raise ParamsError(f"a model of kind {kind} cannot tell what noise is behind a picture")
        return drawn

    @drawing_modes()
    def embed_texts(self, prompts: str | Iterable[str]) -> NDArray[np.float32]:
        """Raw embeddings float32 [p, e] of texts by the model's CLIP.

        Raises:
            ParamsError: one is empty or no text.
        """
        return self.towers.embed_texts(prompts_of(prompts))

    @drawing_modes()
    def embed_images(self, images: Images) -> NDArray[np.float32]:
        """Raw embeddings float32 [n, e] of pictures by the model's CLIP; see `vary`.

        Raises:
            DataError: a file is not there, or no picture.
            ParamsError: `images` is nothing that `vary` takes.
        """
        return self.towers.embed_images(images_of("images", images))

    @drawing_modes()
    def score(self, images: Images, prompts: str | Iterable[str]) -> NDArray[np.float64]:
        """Cosine of each picture with each text by the model's CLIP, in [-1, 1].

        Args:
            images: see `vary`.
            prompts: see `generate`.

        Returns:
            float64 [images, prompts].

        Raises:
            DataError: a file is not there, or no picture.
            ParamsError: an argument does not fit.
        """
        seen, said = self.embed_images(images), self.embed_texts(prompts)
        cosines: NDArray[np.float64] = normalised(seen) @ normalised(said).T
        return cosines

    @drawing_modes()
    def reconstruct(
        self, images: Pictures | Images, image_vectors: Vectors | None = None
    ) -> Pictures:
        """Encode and decode pictures: posterior means, under the pictures' own raw embeddings.

        Args:
            images: uint8 [n, 3, s, s]; without `image_vectors` all that `vary` takes.
            image_vectors: [n, e] of any float type; None: as the model's CLIP sees the pictures.

        Returns:
            uint8 [n, 3, s, s].

        Raises:
            DataError: an array has another type or shape, or is not finite; a file is no picture.
            ParamsError: `images` is nothing that `vary` takes.
        """
        if image_vectors is None:
            found = images_of("images", images)
            seen = self.towers.embed_images(found)
            return self._trained.reconstruct(pixels_of(found, self.size_px), seen)
        pictures = pictures_of("images", images, self.size_px)
        vectors = vectors_of("image_vectors", image_vectors, self.config["embed_dim"])
        if len(pictures) != len(vectors):
            raise DataError(f"{len(pictures)} images, but {len(vectors)} image_vectors")
        return self._trained.reconstruct(pictures, vectors)

    def _request(
        self, n: object, seed: object, guidance: object, steps: object, best_of: object = 1
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
        best = self._trained.draw(vectors, **request.sampling)
        if request.best_of == 1:
            return best
        fits = self._fits(best, vectors)
        for candidate in range(1, request.best_of):
            drawn = self._trained.draw(vectors, **request.sampling, candidate=candidate)
            found = self._fits(drawn, vectors)
            best[found > fits], fits = drawn[found > fits], np.maximum(fits, found)
        return best

    def _fits(self, pictures: Pictures, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Cosine of each picture [p, n, ...] with its prompt, by the model's CLIP: [p, n]."""
        prompts, n = pictures.shape[:2]
        seen = embedded(self.towers, pictures.reshape(-1, *pictures.shape[2:]))
        return clip_similarity(seen, vectors.repeat(n, axis=0)).reshape(prompts, n)

    def _warn_of_unknown_words(self, texts: Sequence[str]) -> None:
        if (clip := self.config["clip_config"]["model"]) not in SHIPPED:
            return
        for text in texts:
            if unknown := unknown_words(text):
                words = cut(", ".join(unknown))
                logger.warning("%s: %s never learnt %s", shown(text), clip, words)

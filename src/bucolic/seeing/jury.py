"""Who looks at the pictures: CLIPs for all data sets, and the attribute probe for drawn scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from PIL import Image
from torch import Tensor

if TYPE_CHECKING:
    from bucolic.seeing.clip.towers import Towers

PROBE_SIZE_PX = 64
AT_ONCE = 512  # pictures; a tower of 224 px takes 0.6 MB for one


class Embedder(Protocol):
    """The part of `bucolic.seeing.clip.towers.Towers` that judging needs."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Model, digest of the weights, preprocessing and the like."""

    def embed_images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Raw embeddings, float32 [n, e]."""

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Raw embeddings, float32 [n, e]."""


class AttributeClassifier(Protocol):
    """The part of `bucolic.seeing.probe.Probe` that judging needs."""

    def predict(self, images: np.ndarray) -> Mapping[str, Sequence[str]]:
        """Value of every attribute in uint8 [n, 3, 64, 64] pictures."""


@dataclass(frozen=True)
class Views:
    """A set of pictures as the jury sees it.

    Attributes:
        pictures: uint8 [p, 3, s, s].
        vectors: float32 [p, e], raw embeddings of these very pixels by the conditioning CLIP.
        seen: attribute to value in each picture; None without a probe.
        judged: float32 [p, j], likewise by the judge; None without one.
    """

    pictures: np.ndarray
    vectors: np.ndarray
    seen: Mapping[str, Sequence[str]] | None
    judged: np.ndarray | None = None

    def take(self, rows: np.ndarray) -> "Views":
        """The pictures at `rows`, in that order; rows may repeat."""
        seen = self.seen and {
            name: [values[row] for row in rows] for name, values in self.seen.items()
        }
        judged = None if self.judged is None else self.judged[rows]
        return Views(self.pictures[rows], self.vectors[rows], seen, judged)


@dataclass(frozen=True)
class Captions:
    """Texts as the jury sees them: raw embeddings, one row a text.

    Attributes:
        own: float32 [m, e], by the conditioning CLIP.
        judged: float32 [m, j], by the judge; None without one.
    """

    own: np.ndarray
    judged: np.ndarray | None = None


@dataclass(frozen=True)
class Jury:
    """Those who look.

    Attributes:
        towers: the CLIP that models are conditioned on.
        probe: reads attributes, where the data set knows the true ones.
        judge: a CLIP that no model was trained with, where there is one.
    """

    towers: Embedder
    probe: AttributeClassifier | None
    judge: Embedder | None = None

    def look(self, pictures: np.ndarray) -> Views:
        """Embed and classify uint8 [p, 3, s, s] pictures.

        Real pictures too are judged by the pixels that the model could draw, at the shards' size,
        never by their originals: fine detail beyond that size is no merit of either.
        """
        seen = None if self.probe is None else self.facts(pictures)
        judged = None if self.judge is None else embedded(self.judge, pictures)
        return Views(pictures, embedded(self.towers, pictures), seen, judged)

    def facts(self, pictures: np.ndarray) -> Mapping[str, Sequence[str]]:
        """What the probe, which must be there, sees in uint8 [p, 3, s, s] pictures."""
        assert self.probe is not None
        return self.probe.predict(_at_probe_size(_images(pictures)))

    def judged(self, pictures: np.ndarray) -> np.ndarray:
        """Raw embeddings of uint8 [p, 3, s, s] by the judge, or by the only CLIP there is."""
        return embedded(self.judge or self.towers, pictures)

    def read(self, texts: Sequence[str], vectors: np.ndarray) -> Captions:
        """Texts whose embeddings [m, e] by the conditioning CLIP are there already."""
        return Captions(vectors, None if self.judge is None else self.judge.embed_texts(texts))

    @property
    def name(self) -> str:
        """The conditioning CLIP and the first digits of its weights' digest."""
        return _named(self.towers)

    @property
    def names(self) -> dict[str, str]:
        """Who gives each verdict, by its name."""
        return {
            "all_right": "probe",
            "r_precision": self.judge_name,
            "r_precision_own_clip": self.name,
            "clip_similarity": self.name,
        }

    @property
    def judge_name(self) -> str:
        """The judge's, or the only CLIP's where there is no other."""
        return _named(self.judge or self.towers)


def embedded(towers: Embedder, pictures: np.ndarray) -> np.ndarray:
    """Raw embeddings of uint8 [p, 3, s, s], p at least 1; a few at a time are held as floats."""
    starts = range(0, len(pictures), AT_ONCE)
    parts = [towers.embed_images(_images(pictures[at : at + AT_ONCE])) for at in starts]
    return np.concatenate(parts)


def feature_maps(towers: "Towers", pictures: np.ndarray, side: int) -> Tensor:
    """What a CLIP sees where in uint8 [p, 3, s, s]; see `Towers.feature_maps`."""
    starts = range(0, len(pictures), AT_ONCE)
    return torch.cat(
        [towers.feature_maps(_images(pictures[at : at + AT_ONCE]), side) for at in starts]
    )


def _images(pictures: np.ndarray) -> list[Image.Image]:
    return [Image.fromarray(picture.transpose(1, 2, 0)) for picture in pictures]


def _named(towers: Embedder) -> str:
    return f"{towers.provenance['model']} ({towers.provenance['weights_sha256'][:12]})"


def _at_probe_size(images: Sequence[Image.Image]) -> np.ndarray:
    size = (PROBE_SIZE_PX, PROBE_SIZE_PX)
    resized = [
        image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
        for image in images
    ]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in resized])

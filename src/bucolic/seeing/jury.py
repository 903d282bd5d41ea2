"""Who looks at the pictures: a CLIP for all data sets, and the attribute probe for drawn scenes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

PROBE_SIZE_PX = 64


class Embedder(Protocol):
    """The part of `bucolic.seeing.clip.towers.Towers` that judging needs."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Model, digest of the weights, preprocessing and the like."""

    def embed_images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
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
        vectors: float32 [p, e], raw CLIP embeddings of these very pixels.
        seen: attribute to value in each picture; None without a probe.
    """

    pictures: np.ndarray
    vectors: np.ndarray
    seen: Mapping[str, Sequence[str]] | None

    def take(self, rows: np.ndarray) -> "Views":
        """The pictures at `rows`, in that order; rows may repeat."""
        seen = self.seen and {
            name: [values[row] for row in rows] for name, values in self.seen.items()
        }
        return Views(self.pictures[rows], self.vectors[rows], seen)


@dataclass(frozen=True)
class Jury:
    """CLIP towers, and the probe where the true attributes are known."""

    towers: Embedder
    probe: AttributeClassifier | None

    def look(self, pictures: np.ndarray) -> Views:
        """Embed and classify uint8 [p, 3, s, s] pictures.

        Real pictures too are judged by the pixels that the model could draw, at the shards' size,
        never by their originals: fine detail beyond that size is no merit of either.
        """
        images = [Image.fromarray(picture.transpose(1, 2, 0)) for picture in pictures]
        vectors = self.towers.embed_images(images)
        seen = None if self.probe is None else self.probe.predict(_at_probe_size(images))
        return Views(pictures, vectors, seen)

    @property
    def name(self) -> str:
        """The CLIP and the first digits of its weights' digest."""
        provenance = self.towers.provenance
        return f"{provenance['model']} ({provenance['weights_sha256'][:12]})"


def _at_probe_size(images: Sequence[Image.Image]) -> np.ndarray:
    size = (PROBE_SIZE_PX, PROBE_SIZE_PX)
    resized = [
        image if image.size == size else image.resize(size, Image.Resampling.BICUBIC)
        for image in images
    ]
    return np.stack([np.asarray(image).transpose(2, 0, 1) for image in resized])

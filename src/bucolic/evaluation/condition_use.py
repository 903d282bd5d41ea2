"""Whether both ways into a picture are used: what its condition says, and what is left to chance.

A model that ignores its condition rebuilds as well from another picture's; one whose chance decides
nothing draws the picture itself from its embedding. Both are told in dB of PSNR.
"""

from typing import Protocol

import numpy as np

from bucolic.evaluation.figures import Figures, absent, mean_figure
from bucolic.evaluation.metrics.psnr import psnr_db

IMAGES = 200
ALONE = "there is no other picture to take a condition from"
NAMES = ("shuffled_condition_drop_db", "resampled_latent_drop_db")


class Rebuilder(Protocol):
    """The part of `bucolic.models.trained.TrainedModel` that is asked."""

    def reconstruct(self, images: np.ndarray, image_vectors: np.ndarray) -> np.ndarray:
        """Decoded posterior means, uint8 [n, 3, s, s]."""

    def draw_of_images(self, image_vectors: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """A picture drawn from each picture's own embedding, uint8 [n, 3, s, s]."""


def condition_use(model: Rebuilder, images: np.ndarray, vectors: np.ndarray, seed: int) -> Figures:
    """What reconstruction loses when the condition, or all that is not in it, is another's.

    Args:
        model: the trained model.
        images: uint8 [n, 3, s, s], of which the first 200 are used.
        vectors: float32 [n, e], their raw embeddings.
        seed: of what is drawn.
    """
    images, vectors = images[:IMAGES], vectors[:IMAGES]
    if len(images) < 2:
        return {name: absent(ALONE) for name in NAMES}
    own = psnr_db(model.reconstruct(images, vectors), images)
    shuffled = psnr_db(model.reconstruct(images, np.roll(vectors, 1, axis=0)), images)
    resampled = psnr_db(model.draw_of_images(vectors, seed=seed), images)
    return dict(
        zip(NAMES, (mean_figure(own - shuffled), mean_figure(own - resampled)), strict=True)
    )

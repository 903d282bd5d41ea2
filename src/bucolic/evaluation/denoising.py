"""Where a model loses what a prompt says: in its prior, in its latents, or in its decoder.

Noise of growing strength is put on the latents of real pictures, and the probe reads what is left
once they are decoded. Without noise it tells what the decoder keeps; how fast it falls, how hard
the latents are for a prior. The model's own pictures, held against it, are drawn from texts: what
the map from text to embedding loses is in their figure, too.
"""

from typing import Protocol

import numpy as np

from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split
from bucolic.evaluation.figures import Figure, Figures, absent
from bucolic.seeing.jury import Jury
from bucolic.seeing.metrics.intervals import wilson
from bucolic.seeing.prompts import OF_ANIMALS, Prompts

LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
IMAGES = 150
NOT_KNOWN = "the data set does not say what its pictures show"
NO_LATENTS = "this kind of model has no latents to put noise on"
NO_ANIMALS = "no test picture shows an animal"


class Noiser(Protocol):
    """The part of `bucolic.models.trained.TrainedModel` that is asked."""

    def noised(
        self, images: np.ndarray, image_vectors: np.ndarray, *, level: float, seed: int = 0
    ) -> np.ndarray | None:
        """Pictures uint8 [n, 3, s, s] decoded from latents with noise on them."""


def denoising(
    model: Noiser,
    test: Split,
    prompts: Prompts,
    attributes: Attributes | None,
    jury: Jury,
    seed: int,
) -> Figures:
    """Accuracy of species, count and colour by the strength of noise on true latents.

    Args:
        model: the trained model.
        test: the split of the pictures.
        prompts: those whose pictures are taken, the first 150 with animals.
        attributes: what the scenes truly show, where the data set says so.
        jury: whose probe reads them.
        seed: of the noise.

    Returns:
        Under `LEVEL.ATTRIBUTE`, a share; noise of level 1 has the spread of the latents themselves.
    """
    names = [f"{_key(level)}.{name}" for level in LEVELS for name in OF_ANIMALS]
    if attributes is None or jury.probe is None:
        return {name: absent(NOT_KNOWN) for name in names}
    truths = [attributes.truth.get(int(test.image_ids[row]), {}) for row in prompts.image_rows]
    kept = [at for at, truth in enumerate(truths) if truth.get("species", "none") != "none"]
    kept = kept[:IMAGES]
    rows = prompts.image_rows[kept]
    if not kept:
        return {name: absent(NO_ANIMALS) for name in names}
    found: Figures = {}
    for level in LEVELS:
        shown = model.noised(test.images[rows], test.image_vectors[rows], level=level, seed=seed)
        if shown is None:
            return {name: absent(NO_LATENTS) for name in names}
        seen = jury.facts(shown)
        for name in OF_ANIMALS:
            right = [seen[name][at] == truths[k].get(name) for at, k in enumerate(kept)]
            found[f"{_key(level)}.{name}"] = _share(right)
    return found


def _key(level: float) -> str:
    """A level as a name without a dot, in per cent."""
    return f"noise_{round(100 * level)}_percent"


def _share(right: list[bool]) -> Figure:
    share = sum(right) / len(right)
    return Figure(share, interval=wilson(sum(right), len(right)), n=len(right))

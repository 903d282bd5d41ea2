"""How many bits a test picture costs, by the bound that the model was trained with.

bits/dim counts what a code for 8-bit pixel values would need for one of them, in the mean: the
density of values in [0, 1] is that of levels times 255. The bound is reconstruction plus KL, given
the picture's own embedding; its KL to N(0, I) is what training minimises. That to the latent prior
p(z|c), without guidance, is an estimate: the flow's likelihood is followed in 16 steps. A unit is
active where it says something about the picture: the variance of its posterior mean over pictures
is above 0.01 (Burda et al. 2016, arXiv 1509.00519).
"""

import math
from collections.abc import Mapping
from typing import Protocol

import numpy as np

from bucolic.evaluation.figures import Figure, Figures, absent, mean_figure

IMAGES = 100
LEVELS = 255
ACTIVE_VARIANCE = 0.01
NONE = "this kind of model has no bound on its likelihood"
NAMES = (
    "bits_per_dim",
    "bits_per_dim_standard_normal",
    "reconstruction_nats",
    "kl_standard_normal_nats",
    "kl_latent_prior_nats",
    "active_units_share",
)


class Estimator(Protocol):
    """The part of `bucolic.models.trained.TrainedModel` that is asked."""

    def likelihood(
        self, images: np.ndarray, image_vectors: np.ndarray, *, seed: int = 0
    ) -> Mapping[str, np.ndarray] | None:
        """Parts of the bound in nats, float32 [n] each, and `means` [n, d]."""


def likelihood(model: Estimator, images: np.ndarray, vectors: np.ndarray, seed: int) -> Figures:
    """The bound and its parts on test pictures under their own embeddings.

    Args:
        model: the trained model.
        images: uint8 [n, 3, s, s], of which the first 100 are used.
        vectors: float32 [n, e], their raw embeddings.
        seed: of what the estimates draw.
    """
    images = images[:IMAGES]
    parts = model.likelihood(images, vectors[:IMAGES], seed=seed)
    if parts is None:
        return {name: absent(NONE) for name in NAMES}
    nats = parts["reconstruction"]
    standard, learned = parts["kl_standard_normal"], parts["kl_latent_prior"]
    values = images[0].size
    found = {
        "bits_per_dim": _bits(nats + learned, values),
        "bits_per_dim_standard_normal": _bits(nats + standard, values),
        "reconstruction_nats": nats,
        "kl_standard_normal_nats": standard,
        "kl_latent_prior_nats": learned,
    }
    active = parts["means"].var(axis=0) > ACTIVE_VARIANCE
    share = Figure(float(active.mean()), n=len(images))
    return {
        **{name: mean_figure(part) for name, part in found.items()},
        "active_units_share": share,
    }


def _bits(nats: np.ndarray, values: int) -> np.ndarray:
    bits: np.ndarray = nats / (values * math.log(2)) + math.log2(LEVELS)
    return bits

import math

import numpy as np
import pytest

from bucolic.evaluation.likelihood import NAMES, likelihood


class Coder:
    """Knows pixel values up to one level of 256, at 30 nats for the latent."""

    def likelihood(
        self, images: np.ndarray, image_vectors: np.ndarray, *, seed: int = 0
    ) -> dict[str, np.ndarray]:
        """A density of 255 on each value; half of four units vary."""
        assert len(images) == len(image_vectors) == 100
        n, values = len(images), images[0].size
        generator = np.random.default_rng(seed)
        return {
            "reconstruction": np.full(n, -values * math.log(255), np.float32),
            "kl_standard_normal": np.full(n, 30.0, np.float32),
            "kl_latent_prior": np.full(n, 20.0, np.float32),
            "means": generator.normal(size=(n, 4)) * np.array([1.0, 0.5, 0.01, 0.0]),
        }


class Speechless:
    """Has no likelihood."""

    def likelihood(self, *_: object, **__: object) -> None:
        """None."""


def test_bits_are_those_of_a_code_for_8_bit_levels():
    """A density of one level costs nothing but the latent: its nats, over log 2 and all values."""
    images = np.zeros((150, 3, 8, 8), np.uint8)
    found = likelihood(Coder(), images, np.zeros((150, 12)), 0)
    expected = 20 / (192 * math.log(2))
    assert found["bits_per_dim"].value == pytest.approx(expected, abs=1e-4)
    assert found["bits_per_dim_standard_normal"].value == pytest.approx(1.5 * expected, abs=1e-4)
    assert found["active_units_share"].value == 0.5
    assert found["bits_per_dim"].n == 100
    assert set(found) == set(NAMES)


def test_a_kind_without_a_bound_says_so():
    """A reason under every name."""
    found = likelihood(Speechless(), np.zeros((4, 3, 8, 8), np.uint8), np.zeros((4, 12)), 0)
    assert {figure.reason for figure in found.values()} == {
        "this kind of model has no bound on its likelihood"
    }

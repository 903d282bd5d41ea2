import dataclasses
from typing import Any

import numpy as np

from bucolic.evaluation.bounds import mean_picture, nearest_by_text


def test_the_nearest_image_is_found_by_direction_not_length(world: Any):
    """Each training image's own direction finds it, whatever the lengths."""
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(300, 12)) * generator.uniform(0.1, 9, (300, 1))
    train = dataclasses.replace(world.train, image_vectors=vectors.astype(np.float32))
    assert nearest_by_text(train, 3 * vectors).tolist() == list(range(300))


def test_the_mean_picture_is_the_rounded_mean(world: Any):
    """The mean over images, pixel by pixel."""
    expected = np.rint(world.train.images.astype(float).mean(axis=0))
    assert mean_picture(world.train).shape == (1, 3, 16, 16)
    assert (mean_picture(world.train)[0] == expected).all()

"""The gap between pictures and captions, where it can be told by hand."""

import numpy as np
import pytest

from bucolic.evaluation.metrics.modality_gap import explained, modality_gap


def test_two_cones_apart_are_all_gap():
    """Pictures all at one place and captions at another: the means explain every distance."""
    pictures, captions = np.tile([2.0, 0, 0], (5, 1)), np.tile([0, 3.0, 0], (5, 1))

    gap = modality_gap(pictures, captions)

    assert gap["centroid_distance"] == pytest.approx(2**0.5)
    assert gap["centroid_share"] == pytest.approx(1)
    assert gap["matched_cosine"] == pytest.approx(0)


def test_one_cloud_without_a_gap_has_no_share():
    """Captions that lie as pictures do, only in another order, differ by no mean."""
    pictures = np.random.default_rng(0).normal(size=(50, 8))

    gap = modality_gap(pictures, np.roll(pictures, 1, axis=0))

    assert gap["centroid_share"] == pytest.approx(0, abs=1e-12)
    assert abs(gap["matched_cosine"]) < 0.2


def test_exact_predictions_explain_everything_and_the_mean_nothing():
    """R2 is 1 for the pictures themselves, 0 for train's mean, less for what is farther off."""
    pictures = np.random.default_rng(0).normal(size=(50, 8))
    unit = pictures / np.linalg.norm(pictures, axis=1, keepdims=True)
    mean = unit.mean(axis=0)

    found = explained(
        pictures, mean, {"exact": unit, "mean": np.tile(mean, (50, 1)), "away": -unit}
    )

    assert found["exact"] == pytest.approx(1)
    assert found["mean"] == pytest.approx(0)
    assert found["away"] < -2

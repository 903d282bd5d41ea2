import numpy as np
import pytest

from bucolic.seeing.metrics.kid import kid, kid_interval, on_sphere


def test_the_mean_over_many_pairs_of_samples_is_zero():
    """Unbiased: samples of one distribution give 0 on average, with both signs."""
    generator = np.random.default_rng(0)
    values = [
        kid(generator.normal(size=(20, 8)), generator.normal(size=(20, 8))) for _ in range(400)
    ]
    assert abs(np.mean(values)) < 4 * np.std(values) / 20
    assert min(values) < 0 < max(values)


def test_a_shift_is_seen_above_the_interval_of_equals():
    """Other distributions lie above the interval of equal ones."""
    generator = np.random.default_rng(1)
    real, other = generator.normal(size=(100, 8)), generator.normal(size=(100, 8))
    _, high = kid_interval(real, other, seed=0)
    assert kid(real, other + 0.7) > high


def test_the_interval_covers_zero_about_as_often_as_it_says():
    """Copies made by resampling are not counted as pairs, so the interval is not biased up."""
    generator = np.random.default_rng(2)
    covered = 0
    for _ in range(60):
        left, right = generator.normal(size=(60, 6)), generator.normal(size=(60, 6))
        low, high = kid_interval(left, right, seed=0)
        covered += low <= 0 <= high
    assert covered >= 51


def test_the_interval_depends_on_the_seed_alone():
    """The same seed gives the same ends."""
    generator = np.random.default_rng(3)
    left, right = generator.normal(size=(30, 4)), generator.normal(size=(30, 4))
    first = kid_interval(left, right, seed=5)
    assert kid_interval(left, right, seed=5) == first
    assert kid_interval(left, right, seed=6) != first


def test_on_sphere_makes_the_scale_of_an_encoder_irrelevant():
    """Vectors are set to length sqrt(d), whatever their own."""
    vectors = np.random.default_rng(4).normal(size=(5, 9)).astype(np.float32)
    assert np.linalg.norm(on_sphere(vectors), axis=1) == pytest.approx(np.full(5, 3.0))
    assert on_sphere(7 * vectors) == pytest.approx(on_sphere(vectors))

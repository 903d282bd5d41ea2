"""FID, CMMD, density and coverage move the right way on known corruptions."""

import numpy as np
import pytest

from bucolic.evaluation.metrics.cmmd import cmmd, cmmd_interval
from bucolic.evaluation.metrics.coverage import densities_and_covered
from bucolic.evaluation.metrics.fid import frechet_distance
from bucolic.seeing.metrics.similarity import normalised


def real(seed: int, n: int = 300) -> np.ndarray:
    """Vectors of eight clusters in 16 dimensions, float64 [n, 16]."""
    centres = 2 * np.random.default_rng(99).normal(size=(8, 16))
    generator = np.random.default_rng(seed)
    vectors = centres[generator.integers(0, 8, n)] + generator.normal(size=(n, 16))
    return normalised(vectors)


def means(made: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Density and coverage."""
    densities, covered = densities_and_covered(made, other)
    return float(densities.mean()), float(covered.mean())


def one_cluster() -> np.ndarray:
    """A model that draws one kind of thing alone."""
    near = normalised(real(0)[:1]) + 0.05 * np.random.default_rng(1).normal(size=(300, 16))
    return normalised(near)


def noise() -> np.ndarray:
    """A model that draws anything at all."""
    return normalised(np.random.default_rng(2).normal(size=(300, 16)))


@pytest.mark.parametrize("worse", [one_cluster, noise])
def test_distances_grow_where_pictures_repeat_or_are_noise(worse: object):
    """Real against real is the smallest, for both."""
    assert callable(worse)
    for distance in (frechet_distance, cmmd):
        assert distance(worse(), real(1)) > distance(real(0), real(1)) + 0.05


def test_cmmd_of_one_distribution_is_zero_on_average():
    """Unbiased: half of the values are negative, and their mean is within its error of 0."""
    values = [cmmd(real(2 * k, 60), real(2 * k + 1, 60)) for k in range(60)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0 < max(values)


def test_fid_of_few_is_flattered_by_nothing():
    """The same distributions are further apart with fewer vectors, which is why n stands beside."""
    few, many = (frechet_distance(real(3, n), real(4, n)) for n in (40, 2000))
    assert few > 2 * many


def test_repetition_covers_little_and_noise_lies_among_nothing():
    """Coverage falls where a model repeats itself, density where it draws what is not there."""
    density, coverage = means(real(0), real(1))
    assert density == pytest.approx(1.0, abs=0.15)
    assert coverage > 0.93
    assert means(one_cluster(), real(1))[1] < 0.2
    assert means(noise(), real(1))[0] < 0.3


def test_the_interval_of_cmmd_holds_its_expectation_as_often_as_it_says():
    """Of 60 pairs of samples of one distribution about 57 intervals hold 0, and all the value."""
    hold = 0
    for k in range(60):
        left, right = real(2 * k, 60), real(2 * k + 1, 60)
        low, high = cmmd_interval(left, right, seed=k)
        hold += low <= 0 <= high
        assert low < cmmd(left, right) < high
    assert 51 <= hold <= 60

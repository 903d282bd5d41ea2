import numpy as np
import pytest

from bucolic.seeing.metrics.intervals import bootstrap_mean_of_means, normal, wilson


def test_wilson_stays_inside_zero_and_one():
    """No success and full success give intervals of some width that end at 0 and 1."""
    low, high = wilson(0, 20)
    assert low == 0.0
    assert 0.1 < high < 0.2
    low, high = wilson(20, 20)
    assert high == 1.0
    assert 0.8 < low < 0.9


def test_wilson_covers_the_true_share_about_as_often_as_it_says():
    """Share 0.1, 40 trials: 95 % of 2,000 intervals, give or take 2."""
    successes = np.random.default_rng(0).binomial(40, 0.1, 2000)
    covered = [low <= 0.1 <= high for low, high in (wilson(int(k), 40) for k in successes)]
    assert 0.93 < np.mean(covered) < 0.97


def test_normal_is_the_mean_and_its_standard_error():
    """Values 0 and 2: mean 1, standard error 1."""
    assert normal(np.array([0.0, 2.0])) == pytest.approx((1 - 1.96, 1 + 1.96), abs=1e-3)


def test_bootstrap_of_one_full_column_agrees_with_the_normal_interval():
    """For a plain mean of many values the two methods meet."""
    values = np.random.default_rng(1).normal(3, 1, 500)
    assert bootstrap_mean_of_means([values], seed=0) == pytest.approx(normal(values), abs=0.02)


def test_bootstrap_weighs_columns_alike_whatever_their_length():
    """A column with few values counts as much as a full one, and makes the interval wide."""
    generator = np.random.default_rng(2)
    full = (generator.random(300) < 0.5).astype(float)
    sparse = np.where(np.arange(300) < 20, 1.0, np.nan)
    low, high = bootstrap_mean_of_means([full, sparse], seed=0)
    assert low < (full.mean() + 1) / 2 < high

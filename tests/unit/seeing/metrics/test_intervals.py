import numpy as np
import pytest

from bucolic.seeing.metrics.intervals import (
    bootstrap_mean_of_means,
    clustered_share,
    of_mean,
    wilson,
)


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


def test_draws_that_agree_count_once_and_draws_that_do_not_count_each():
    """Four equal draws of a prompt tell no more than one; four independent ones tell as four."""
    generator = np.random.default_rng(0)
    prompts = (generator.random(400) < 0.6).astype(float)
    assert clustered_share(prompts, 4) == pytest.approx(wilson(prompts.sum(), 400), abs=1e-9)
    draws = (generator.random((400, 4)) < 0.6).mean(axis=1)
    low, high = clustered_share(draws, 4)
    alone = wilson(1600 * draws.mean(), 1600)
    assert high - low == pytest.approx(alone[1] - alone[0], rel=0.1)


def test_the_interval_of_clusters_covers_the_true_share_about_as_often_as_it_says():
    """Prompts of uneven difficulty, mean 0.5, four draws each: 95 % of 1,000, give or take 2."""
    generator = np.random.default_rng(1)
    difficulty = generator.random((1000, 60, 1))
    shares = (generator.random((1000, 60, 4)) < difficulty).mean(axis=2)
    covered = [low <= 0.5 <= high for low, high in (clustered_share(s, 4) for s in shares)]
    assert 0.93 < np.mean(covered) < 0.97


def test_clusters_that_all_agree_still_leave_doubt():
    """Everything right in 20 prompts: the interval ends at 1 and is that of 20 trials."""
    assert clustered_share(np.ones(20), 4) == wilson(20, 20)


def test_an_interval_of_a_mean_is_student_s():
    """Mean 1 and standard error 1: of two values 12.7 of these, of many 1.96."""
    assert of_mean(np.array([0.0, 2.0])) == pytest.approx((1 - 12.706, 1 + 12.706), abs=1e-3)
    many = np.tile([0.0, 2.0], 5000)
    assert of_mean(many) == pytest.approx((1 - 1.96 / 100, 1 + 1.96 / 100), abs=1e-4)


def test_bootstrap_of_one_full_column_agrees_with_the_interval_of_its_mean():
    """For a plain mean of many values the two methods meet."""
    values = np.random.default_rng(1).normal(3, 1, 500)
    assert bootstrap_mean_of_means([values], seed=0) == pytest.approx(of_mean(values), abs=0.02)


def test_bootstrap_weighs_columns_alike_whatever_their_length():
    """A column with few values counts as much as a full one, and makes the interval wide."""
    generator = np.random.default_rng(2)
    full = (generator.random(300) < 0.5).astype(float)
    sparse = np.where(np.arange(300) < 20, 1.0, np.nan)
    low, high = bootstrap_mean_of_means([full, sparse], seed=0)
    assert low < (full.mean() + 1) / 2 < high

"""Means and intervals over seeds and prompts."""

import numpy as np
import pytest
from scipy.stats import t as student

from bucolic.arms.statistics import estimate


def half_width(outcomes: np.ndarray) -> float:
    """Half the length of the interval."""
    low, high = estimate(outcomes).interval
    return (high - low) / 2


def test_with_seeds_that_agree_the_interval_is_that_of_the_prompts():
    """Equal seeds add no information: the width is that of one seed's prompts."""
    prompts = np.random.default_rng(0).normal(size=400)

    widths = half_width(np.stack([prompts] * 3)), half_width(prompts[None])

    assert widths[0] == pytest.approx(1.966 * prompts.std(ddof=1) / 20, rel=0.01)
    assert widths == pytest.approx([widths[0]] * 2, rel=0.01)


def test_seeds_that_differ_alone_have_student_s_interval_of_three():
    """Where prompts do not matter, the interval is that of three numbers: 4.3 standard errors."""
    outcomes = np.tile([[-0.1], [0.0], [0.1]], (1, 500))

    expected = student.ppf(0.975, 2) * 0.1 / 3**0.5

    assert half_width(outcomes) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("of_seeds", "of_prompts", "of_rest"),
    [(0.05, 0.5, 0.3), (0.0, 0.5, 0.3), (0.2, 0.1, 0.3), (0.0, 0.0, 1.0)],
)
def test_the_interval_holds_the_truth_about_as_often_as_it_says(
    of_seeds: float, of_prompts: float, of_rest: float
):
    """Of 400 studies of 3 seeds and 60 prompts at least 90 % hold the true mean, 0."""
    chance, hold = np.random.default_rng(0), 0
    for _ in range(400):
        seeds, prompts = chance.normal(size=(3, 1)), chance.normal(size=(1, 60))
        rest = chance.normal(size=(3, 60))
        low, high = estimate(of_seeds * seeds + of_prompts * prompts + of_rest * rest).interval
        hold += low <= 0 <= high

    assert hold >= 0.9 * 400


def test_a_prompt_s_own_difficulty_falls_out_of_a_paired_difference():
    """The difference of arms that find the same prompts hard is far surer than either figure."""
    chance = np.random.default_rng(0)
    hard = chance.uniform(size=300)
    first = hard + chance.normal(size=(3, 300)) * 0.02
    second = first + 0.01 + chance.normal(size=(3, 300)) * 0.02

    gap = estimate(second - first)

    assert half_width(first) > 5 * (gap.interval[1] - gap.interval[0]) / 2
    assert gap.value == pytest.approx(0.01, abs=0.003)


@pytest.mark.parametrize(
    ("by_seed", "holds"),
    [
        ((0.2, 0.21, 0.2), True),
        ((0.4, 0.4, -0.05), False),
        ((-0.2, -0.2, -0.2), False),
        ((0.2,), False),
    ],
)
def test_a_claim_holds_if_the_interval_and_every_seed_are_above_zero(
    by_seed: tuple[float, ...], holds: bool
):
    """One seed that says the opposite is enough against it, and one alone says nothing."""
    noise = np.random.default_rng(0).normal(size=(len(by_seed), 500)) * 0.1

    found = estimate(noise - noise.mean(1, keepdims=True) + np.array(by_seed)[:, None])

    assert found.holds is holds
    assert found.by_seed == pytest.approx(by_seed)


def test_prompts_that_are_not_judged_are_left_out():
    """A column of NaN changes neither the mean nor the number of prompts."""
    outcomes = np.array([[1.0, np.nan, 0.0, 1.0], [1.0, np.nan, 1.0, 1.0]])

    found = estimate(outcomes)

    assert found.value == pytest.approx(5 / 6)
    assert found.prompts == 3

"""Intervals over seeds and prompts."""

import numpy as np
import pytest

from bucolic.arms.statistics import estimate


def half_width(outcomes: np.ndarray) -> float:
    """Half the length of the interval."""
    low, high = estimate(outcomes).interval
    return (high - low) / 2


def test_with_seeds_that_agree_the_interval_is_that_of_the_prompts():
    """Equal seeds add no information: the width is that of one seed's prompts."""
    prompts = np.random.default_rng(0).normal(size=400)

    width = half_width(np.stack([prompts] * 3))

    assert width == pytest.approx(1.96 * prompts.std() / 20, rel=0.05)


def test_seeds_that_differ_widen_the_interval():
    """The spread between seeds counts, however many prompts there are."""
    noise = np.random.default_rng(0).normal(size=(3, 1000)) * 0.01
    shifts = np.array([[-0.1], [0.0], [0.1]])

    assert half_width(noise) < 0.002
    assert half_width(noise + shifts) == pytest.approx(0.1, rel=0.1)


def test_a_prompt_s_own_difficulty_falls_out_of_a_paired_difference():
    """The difference of arms that find the same prompts hard is far surer than either figure."""
    chance = np.random.default_rng(0)
    hard = chance.uniform(size=300)
    first = hard + chance.normal(size=(3, 300)) * 0.02
    second = first + 0.01 + chance.normal(size=(3, 300)) * 0.02

    gap = estimate(second - first)

    assert half_width(first) > 10 * (gap.interval[1] - gap.interval[0]) / 2
    assert gap.holds


@pytest.mark.parametrize(
    ("by_seed", "holds"),
    [((0.2, 0.2, 0.2), True), ((0.4, 0.4, -0.05), False), ((-0.2, -0.2, -0.2), False)],
)
def test_a_claim_holds_if_the_interval_and_every_seed_are_above_zero(
    by_seed: tuple[float, ...], holds: bool
):
    """One seed that says the opposite is enough against it."""
    noise = np.random.default_rng(0).normal(size=(3, 500)) * 0.1

    found = estimate(noise - noise.mean(1, keepdims=True) + np.array(by_seed)[:, None])

    assert found.holds is holds
    assert found.by_seed == pytest.approx(by_seed)


def test_prompts_that_are_not_judged_are_left_out():
    """A column of NaN changes neither the mean nor the number of prompts."""
    outcomes = np.array([[1.0, np.nan, 0.0, 1.0], [1.0, np.nan, 1.0, 1.0]])

    found = estimate(outcomes)

    assert found.value == pytest.approx(5 / 6)
    assert found.prompts == 3

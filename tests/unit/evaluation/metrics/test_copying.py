import numpy as np
import pytest

from bucolic.evaluation.metrics.copying import c_t, copied_share, nearest_distances


def test_distances_are_those_to_the_nearest():
    """A vector that is there is at 0 whatever its length, an orthogonal one at 1."""
    train = np.array([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]])
    queries = np.array([[0.0, 5.0, 0.0], [0.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    expected = [0.0, 1.0, 1 - 0.5**0.5]
    assert nearest_distances(queries, train).tolist() == pytest.approx(expected)


def test_pictures_as_far_as_held_out_ones_are_not_flagged():
    """Z is standard normal there: of 400 trials about 5 % exceed 1.96 either way."""
    generator = np.random.default_rng(0)
    values = [c_t(generator.random(80), generator.random(90)) for _ in range(400)]
    assert np.mean(np.abs(values) > 1.96) == pytest.approx(0.05, abs=0.03)
    assert np.mean(values) == pytest.approx(0, abs=0.15)


def test_nearer_pictures_are_positive_and_further_ones_negative():
    """The sign says which."""
    held_out = np.linspace(0.2, 0.4, 100)
    assert c_t(held_out - 0.1, held_out) > 5
    assert c_t(held_out + 0.1, held_out) < -5


@pytest.mark.parametrize("copies", [0, 20, 100, 200])
def test_the_share_of_copies_is_found(copies: int):
    """Copies lie nearer than all held-out pictures do."""
    generator = np.random.default_rng(1)
    held_out = 0.2 + 0.1 * generator.random(200)
    generated = 0.2 + 0.1 * generator.random(200)
    generated[:copies] = 0.01
    share, (low, high) = copied_share(generated, held_out)
    assert share == pytest.approx(copies / 200, abs=0.04)
    assert low <= share <= high


@pytest.mark.parametrize(("held_out", "generated"), [(100, 100), (100, 400), (452, 452)])
def test_pictures_that_are_no_copies_are_seldom_flagged(held_out: int, generated: int):
    """Of 1,000 trials the interval lies above 0 in at most 5 %, and the share is 0 on average."""
    generator = np.random.default_rng(2)
    found = [
        copied_share(generator.random(generated), generator.random(held_out)) for _ in range(1000)
    ]
    assert np.mean([low > 0 for _, (low, _) in found]) <= 0.05
    assert np.mean([share for share, _ in found]) == pytest.approx(0, abs=0.002)

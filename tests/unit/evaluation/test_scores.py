"""What is behind a figure: n counts the prompts, or pictures, that its interval is of."""

from types import SimpleNamespace
from typing import Any

import numpy as np

from bucolic.evaluation import scores


def test_accuracy_counts_the_prompts_that_state_something_of_the_animals():
    """Of five prompts one states nothing, and one its colour alone."""
    unsaid = np.nan
    agreements = {
        "species": np.array([1, 0, unsaid, 1, unsaid]),
        "count": np.array([1, unsaid, unsaid, 1, unsaid]),
        "colour": np.array([0, unsaid, unsaid, 1, 1]),
    }
    exam: Any = SimpleNamespace(by_prompt=lambda values: values, seed=0)
    figure = scores._accuracy_of_animals(agreements, exam)
    assert 4 == figure.n
    assert np.isclose(np.mean([2 / 3, 1, 2 / 3]), figure.value)


def test_coverage_counts_the_real_pictures_that_may_be_covered():
    """Its share and interval are over the other half, which may be of another size."""
    draw = np.random.default_rng(0)
    half = np.arange(200) < 80
    views = SimpleNamespace(vectors=draw.normal(size=(200, 4)), judged=None)
    sitting: Any = SimpleNamespace(real=views, half=half, picked=False, views=views, firsts=views)
    figure = scores.coverage(sitting)["coverage"]
    assert 120 == figure.n
    assert figure.value is not None
    assert np.isclose(figure.value * 120, round(figure.value * 120))

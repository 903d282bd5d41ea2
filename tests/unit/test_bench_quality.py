"""bench/quality.py: what stands behind a figure over seeds."""

from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"


@pytest.fixture
def quality(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script."""
    monkeypatch.syspath_prepend(BENCH)
    import quality

    return quality


def judged(value: float, interval: list[float] | None) -> dict[str, Any]:
    """An evaluate.json of one figure and one attribute."""
    ends = {"metrics.kid": interval, "metrics.attributes.species": [0.1, 0.2]}
    return {
        "metrics": {"kid": value, "attributes": {"species": 0.5}},
        "counts": {"n": {"metrics.kid": 191}, "intervals": {k: v for k, v in ends.items() if v}},
    }


def test_each_figure_keeps_its_n_and_the_interval_of_each_seed(quality: Any):
    """Attributes as others; what has no interval has none."""
    found = quality._over_seeds([judged(0.1, [0.0, 0.2]), judged(0.2, [0.1, 0.3])], "metrics")
    assert (0.15, [0.1, 0.2]) == (found["kid"], found["kid_range"])
    assert (191, [[0.0, 0.2], [0.1, 0.3]]) == (found["kid_n"], found["kid_intervals"])
    assert [[0.1, 0.2]] * 2 == found["species_intervals"]
    assert "species_n" not in found
    assert "kid_intervals" not in quality._over_seeds([judged(0.1, None)], "metrics")


def test_seeds_that_differ_in_what_is_behind_a_figure_are_told_apart(quality: Any):
    """An n of each where they are not the same, and None in the place of a missing interval."""
    first, second = judged(0.1, None), judged(0.2, [0.1, 0.3])
    second["counts"]["n"]["metrics.kid"] = 100
    found = quality._over_seeds([first, second], "metrics")
    assert [191, 100] == found["kid_n"]
    assert [None, [0.1, 0.3]] == found["kid_intervals"]


def test_data_that_say_nothing_of_attributes_leave_cells_empty(quality: Any):
    """Photographs have no share of right attributes, and their column is there all the same."""
    entry = {part: {"psnr_db": 20.0, "psnr_db_range": [19.0, 21.0]} for part in quality.PARTS}
    lines = quality.lines({"coco2017": entry})
    assert "| PSNR of reconstructions, dB | 20.0 (19.0 to 21.0) |" in lines
    assert "| species |  |" in lines

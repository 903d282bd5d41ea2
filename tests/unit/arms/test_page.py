"""The study as Markdown."""

from typing import Any

import pytest

from bucolic.arms.page import lines


def found(interval: tuple[float, float], by_seed: tuple[float, ...], *, holds: bool) -> Any:
    """A study of one claim."""
    claim = {"claim": "x beats y", "value": 0.1, "interval": interval, "by_seed": by_seed}
    return {"decided_by": "all_right", "rows": [], "differences": [{**claim, "holds": holds}]}


@pytest.mark.parametrize(
    ("interval", "by_seed", "holds", "said"),
    [
        ((0.01, 0.2), (0.1, 0.1), True, "yes"),
        ((-0.01, 0.2), (0.1, 0.1), False, "not shown"),
        ((0.01, 0.2), (0.3, -0.1), False, "not shown"),
        ((-0.2, -0.1), (-0.1, -0.2), False, "no, the opposite does"),
        ((-0.2, -0.1), (-0.3, 0.01), False, "not shown"),
        ((0.01, 0.2), (0.1,), False, "not shown: one seed"),
    ],
)
def test_a_claim_is_shown_or_its_opposite_or_neither(
    interval: tuple[float, float], by_seed: tuple[float, ...], holds: bool, said: str
):
    """An interval on either side of 0 says something if every seed says the same."""
    *_, last = lines(found(interval, by_seed, holds=holds))

    assert last.endswith(f"| {said} |")

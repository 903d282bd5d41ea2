import pytest

from bucolic.evaluation.figures import Figure, absent, intervals, nested_values, reasons, under

FIGURES = {
    "metrics.kid": Figure(0.12345678, interval=(0.1, 0.2)),
    **under("bounds.real", {"ssim": absent("not asked")}),
}


def test_dots_become_levels_and_values_are_rounded():
    """evaluate.json nests what was collected flat."""
    assert nested_values(FIGURES) == {
        "metrics": {"kid": 0.123457},
        "bounds": {"real": {"ssim": None}},
    }


def test_a_null_has_its_reason_and_a_value_its_interval():
    """Reasons and intervals go by dotted names."""
    assert reasons(FIGURES) == {"bounds.real.ssim": "not asked"}
    assert intervals(FIGURES) == {"metrics.kid": [0.1, 0.2]}


def test_a_figure_without_value_must_say_why():
    """Neither a silent null nor a reason beside a value."""
    with pytest.raises(AssertionError):
        Figure(None)
    with pytest.raises(AssertionError):
        Figure(1.0, reason="no")

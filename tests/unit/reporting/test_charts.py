import json
from pathlib import Path

import pytest

from bucolic.models.kinds import kind_named
from bucolic.reporting.charts import line_chart, short, ticks, training_charts

CURVES = kind_named().curves


def test_ticks_are_round_and_cover_the_range():
    """Ends lie on or outside the values, steps are 1, 2 or 5 times a power of ten."""
    assert ticks(0, 23_000) == [0, 5000, 10_000, 15_000, 20_000, 25_000]
    assert ticks(0.13, 0.91) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    marks = ticks(-3.7, -1.2)
    assert marks[0] <= -3.7
    assert marks[-1] >= -1.2


def test_equal_values_have_an_axis_too():
    """A flat curve, even at zero, does not divide by nothing."""
    for value in (0.0, 4.0, -2.5):
        marks = ticks(value, value)
        assert marks[0] <= value <= marks[-1]
        assert marks[0] < marks[-1]


def test_numbers_are_short():
    """Thousands and millions get a letter."""
    assert [short(v) for v in (0.25, 1200.0, 23_000.0, 2e6)] == ["0.25", "1200", "23k", "2M"]


def test_train_and_held_out_share_one_chart(tmp_path: Path):
    """One chart a quantity, two curves, inside the drawing; unknown phases are passed over."""
    path = tmp_path / "curves.jsonl"
    rows = [
        {"phase": "prior", "images_seen": 100 * k, "train_loss": 1 / k, "val_loss": 2 / k}
        for k in (1, 2, 4)
    ]
    rows.append({"phase": "other", "images_seen": 5, "val_loss": 1.0})
    path.write_text("\n".join(json.dumps(row) for row in rows))
    (chart,) = training_charts(path, CURVES)
    assert [line.style for line in chart.lines] == ["train", "val"]
    assert chart.lines[1].last == 0.5
    for line in chart.lines:
        for point in line.points.split():
            x, y = map(float, point.split(","))
            assert chart.left_px <= x <= chart.right_px
            assert chart.top_px <= y <= chart.bottom_px


def test_a_line_goes_from_left_to_right_in_whatever_order_its_points_come():
    """Keys of a JSON file are sorted as texts, which puts 100 before 20."""
    points = [(0.0, 3.0), (20.0, 2.0), (40.0, 2.5), (100.0, 1.0)]
    shuffled = [points[0], points[3], points[1], points[2]]
    charts = [line_chart("t", "lower", {"train": "l"}, {"train": p}) for p in (points, shuffled)]
    assert charts[0] == charts[1]
    assert charts[0] is not None
    assert 1.0 == charts[0].lines[0].last


def test_no_file_no_charts(tmp_path: Path):
    """Before training there is nothing to draw."""
    assert training_charts(tmp_path / "curves.jsonl", CURVES) == []

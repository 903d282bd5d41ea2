"""Line charts as inline SVG geometry: scales, ticks and polylines for the report page."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bucolic.models.kinds import Curve

WIDTH_PX, HEIGHT_PX = 640, 260
LEFT_PX, RIGHT_PX, TOP_PX, BOTTOM_PX = 64, 30, 14, 34
TICKS = 5
SIDES = (("train", "training images"), ("val", "held-out images"))


@dataclass(frozen=True)
class Tick:
    """A mark on an axis: where it is in the drawing, and what it says."""

    place_px: float
    label: str


@dataclass(frozen=True)
class Line:
    """One curve: a style name, its label, SVG points, and its last value."""

    style: str
    label: str
    points: str
    last: float


@dataclass(frozen=True)
class Chart:
    """All a template needs to draw one chart; coordinates are SVG pixels."""

    title: str
    better: str
    lines: tuple[Line, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    width_px: int = WIDTH_PX
    height_px: int = HEIGHT_PX
    left_px: int = LEFT_PX
    right_px: int = WIDTH_PX - RIGHT_PX
    top_px: int = TOP_PX
    bottom_px: int = HEIGHT_PX - BOTTOM_PX


def training_charts(path: Path, curves: Sequence[Curve]) -> list[Chart]:
    """Charts of train against held-out values from a curves.jsonl; empty where there is none.

    Each line of the file is an object with `phase`, `images_seen`, and values such as `train_loss`
    and `val_loss`.
    """
    if not path.is_file():
        return []
    rows = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    charts = [
        _chart([row for row in rows if row.get("phase") == curve.phase], curve) for curve in curves
    ]
    return [chart for chart in charts if chart is not None]


def ticks(low: float, high: float, number: int = TICKS) -> list[float]:
    """Round values from 1, 2 or 5 times a power of ten that cover [low, high]."""
    span = (high - low) or abs(high) or 1.0
    rough = span / number
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [step * k for k in range(first, max(last, first + 1) + 1)]


def short(value: float) -> str:
    """A number in few characters: 23000 as 23k, 0.2500 as 0.25."""
    if abs(value) >= 1e6:
        return f"{value / 1e6:g}M"
    return f"{value / 1e3:g}k" if abs(value) >= 1e4 else f"{value:.4g}"


def _chart(rows: Sequence[Mapping[str, Any]], curve: Curve) -> Chart | None:
    """The chart of one quantity of a phase over images seen, on either side."""
    series = {
        side: [
            (float(row["images_seen"]), float(row[f"{side}_{curve.quantity}"]))
            for row in rows
            if isinstance(row.get(f"{side}_{curve.quantity}"), int | float)
        ]
        for side, _ in SIDES
    }
    return line_chart(curve.title, curve.better, dict(SIDES), series)


def line_chart(
    title: str,
    better: str,
    labels: Mapping[str, str],
    series: Mapping[str, Sequence[tuple[float, float]]],
) -> Chart | None:
    """A chart of several lines; None where there is no point.

    Args:
        title: what is shown.
        better: its direction, "lower" or "higher".
        labels: by style of a line, what it is called.
        series: by style, the points (x, y) of a line in any order, x from 0.
    """
    series = {style: sorted(values, key=lambda point: point[0]) for style, values in series.items()}
    points = [point for values in series.values() for point in values]
    if not points:
        return None
    x_marks = ticks(0.0, max(x for x, _ in points))
    y_marks = ticks(min(y for _, y in points), max(y for _, y in points))
    x_scale = _Scale(x_marks[0], x_marks[-1], LEFT_PX, WIDTH_PX - RIGHT_PX)
    y_scale = _Scale(y_marks[0], y_marks[-1], HEIGHT_PX - BOTTOM_PX, TOP_PX)
    lines = tuple(
        Line(side, label, _points(series[side], x_scale, y_scale), series[side][-1][1])
        for side, label in labels.items()
        if series[side]
    )
    return Chart(
        title=title,
        better=better,
        lines=lines,
        x_ticks=tuple(Tick(x_scale.at(mark), short(mark)) for mark in x_marks),
        y_ticks=tuple(Tick(y_scale.at(mark), short(mark)) for mark in y_marks),
    )


@dataclass(frozen=True)
class _Scale:
    """A linear map from values to pixels."""

    low: float
    high: float
    start_px: float
    end_px: float

    def at(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return round(self.start_px + share * (self.end_px - self.start_px), 1)


def _points(values: Sequence[tuple[float, float]], x_scale: _Scale, y_scale: _Scale) -> str:
    return " ".join(f"{x_scale.at(x)},{y_scale.at(y)}" for x, y in values)

"""A figure is a value, or the reason why there is none; evaluate.json is made of nothing else.

Figures are collected flat, under dotted names such as `bounds.real.kid`, and nested on writing.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bucolic.seeing.metrics.intervals import of_mean

DECIMALS = 6
ENDLESS = "its value is no finite number"


@dataclass(frozen=True)
class Figure:
    """One number of the evaluation.

    Attributes:
        value: the number; None where it does not apply.
        reason: why there is none, in words for a reader of the report.
        interval: 95 % interval of the value, where one was computed.
        n: independent items behind it: prompts, or pictures where there is none.
    """

    value: float | None
    reason: str | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        assert (self.value is None) == (self.reason is not None), "either a value or a reason"


Figures = dict[str, Figure]


def absent(reason: str) -> Figure:
    """A figure that does not apply, with its reason."""
    return Figure(value=None, reason=reason)


def mean_figure(values: np.ndarray) -> Figure:
    """The mean of independent values float [n], n at least 1, with the interval of its error."""
    exact = values.astype(np.float64)
    interval = of_mean(exact) if len(exact) > 1 else None
    return Figure(float(exact.mean()), interval=interval, n=len(exact))


def under(prefix: str, figures: Mapping[str, Figure]) -> Figures:
    """The same figures with `prefix.` before their names."""
    return {f"{prefix}.{name}": figure for name, figure in figures.items()}


def nested_values(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Values as nested dictionaries, dots in the names being levels; rounded to 6 decimals."""
    tree: dict[str, Any] = {}
    for name, figure in figures.items():
        *levels, leaf = name.split(".")
        branch = tree
        for level in levels:
            branch = branch.setdefault(level, {})
        branch[leaf] = None if figure.value is None else round(figure.value, DECIMALS)
    return tree


def reasons(figures: Mapping[str, Figure]) -> dict[str, str]:
    """Dotted name to reason, for the figures that have no value."""
    return {name: figure.reason for name, figure in figures.items() if figure.reason is not None}


def intervals(figures: Mapping[str, Figure]) -> dict[str, list[float]]:
    """Dotted name to [lower, upper], for the figures that have an interval."""
    return {
        name: [round(end, DECIMALS) for end in figure.interval]
        for name, figure in figures.items()
        if figure.interval is not None
    }


def sizes(figures: Mapping[str, Figure]) -> dict[str, int]:
    """Dotted name to the number of independent items behind it, where that is known."""
    return {name: figure.n for name, figure in figures.items() if figure.n is not None}


def finite(figures: Mapping[str, Figure]) -> Figures:
    """The same as JSON can hold them: no value, or no interval, where one is not finite."""
    return {name: _finite(figure) for name, figure in figures.items()}


def _finite(figure: Figure) -> Figure:
    if figure.value is not None and not math.isfinite(figure.value):
        return absent(ENDLESS)
    if figure.interval and not all(map(math.isfinite, figure.interval)):
        return replace(figure, interval=None)
    return figure

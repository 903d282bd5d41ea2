"""Tables of evaluate.json's figures: one row a metric, one column an arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bucolic.evaluation.table import Metric

MORE_DECIMALS = 3


@dataclass(frozen=True)
class Cell:
    """One figure in a table; `note` is the number of its reason where there is no value."""

    text: str
    interval: str = ""
    n: int | None = None
    note: int | None = None


@dataclass(frozen=True)
class Row:
    """One metric over several arms."""

    metric: Metric
    cells: tuple[Cell, ...]
    indented: bool = False


class FigureTables:
    """Turns evaluate.json into cells, numbering the reasons of its nulls as notes."""

    def __init__(self, found: dict[str, Any]) -> None:
        self._found = found
        self._reasons: dict[str, str] = found["reasons"]
        self._intervals: dict[str, list[float]] = found["counts"].get("intervals", {})
        self._sizes: dict[str, int] = found["counts"].get("n", {})
        self.notes: list[str] = []

    def rows(self, metrics: Sequence[Metric], arms: Sequence[str]) -> list[Row]:
        """One row a metric, followed by those of its parts."""
        rows = []
        for metric in metrics:
            rows.append(Row(metric, self._cells(metric, arms)))
            if metric.parts:
                rows += [Row(m, self._cells(m, arms), indented=True) for m in self._parts(metric)]
        return rows

    def named(self, labels: Mapping[str, str]) -> list[tuple[str, Cell]]:
        """A line for each figure of the model alone that is there, or has a reason not to be."""
        known = [name for name in labels if name in self._reasons or self._value(name) is not None]
        return [(labels[name], self._cell(name, MORE_DECIMALS)) for name in known]

    def _parts(self, metric: Metric) -> list[Metric]:
        """A row for each part that was measured of the model."""
        measured: dict[str, float | None] = self._found["metrics"].get(metric.parts, {})
        names = [name for name, value in measured.items() if value is not None]
        return [
            replace(metric, name=f"{metric.parts}.{name}", label=name, meaning="", parts="")
            for name in names
        ]

    def _cells(self, metric: Metric, arms: Sequence[str]) -> tuple[Cell, ...]:
        return tuple(self._cell(f"{arm}.{metric.name}", metric.decimals) for arm in arms)

    def _cell(self, name: str, decimals: int) -> Cell:
        value = self._value(name)
        if value is None:
            return Cell("none", note=self._note(self._reasons.get(name)))
        ends = self._intervals.get(name)
        interval = f"{ends[0]:.{decimals}f} to {ends[1]:.{decimals}f}" if ends else ""
        return Cell(f"{value:.{decimals}f}", interval, self._sizes.get(name))

    def _value(self, name: str) -> float | None:
        value: Any = self._found
        for level in name.split("."):
            value = value.get(level) if isinstance(value, dict) else None
        return value if isinstance(value, int | float) else None

    def _note(self, reason: str | None) -> int:
        reason = reason or "not measured"
        if reason not in self.notes:
            self.notes.append(reason)
        return self.notes.index(reason) + 1

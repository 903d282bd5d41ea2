"""What a stage says about itself: its rows, its figures, and the values it streams meanwhile."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Rows:
    """Rows a stage was given, delivered, and could not use; the first is the sum of the others."""

    into: int
    out: int
    failed: int = 0

    def __post_init__(self) -> None:
        assert self.into == self.out + self.failed, f"rows do not reconcile: {self}"


@dataclass(frozen=True)
class Summary:
    """The outcome of one stage.

    Attributes:
        rows: rows in, out and failed.
        figures: what goes to reports/STAGE.json; deterministic, JSON types, no NaN.
        new: items computed or fetched by this run, where the stage keeps a store.
        reused: items taken from the store.
        device: torch device of the heavy part; "cpu" where there is none.
        precision: arithmetic of the heavy part, e.g. "fp32" or "bf16".
    """

    rows: Rows
    figures: Mapping[str, Any] = field(default_factory=dict)
    new: int | None = None
    reused: int | None = None
    device: str = "cpu"
    precision: str | None = None


class Sink(Protocol):
    """Where a running stage sends curves and pictures; a tracker, a file, or a list in a test."""

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Take scalar values, with the number of training images seen so far as the x axis."""

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Take a picture file; it may be overwritten after the call returns."""


class NoSink:
    """A sink that keeps nothing."""

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Drop the values."""

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Drop the picture."""

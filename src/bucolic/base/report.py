"""What a stage says about itself: its rows, its figures, and how far it is meanwhile."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:  # numpy is no matter of those who read params alone
    from bucolic.base.sheet import Sheet


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
        figures: what goes to reports/STAGE.json; deterministic, JSON types, no NaN. Numbers alone
            where it is a metric of DVC's.
        headline: by metric and arm, the few numbers that DVC compares runs by, for the stage that
            has reports/metrics.json among its outs.
        details: what people read beside the figures; it goes into the record.
        sheets: by name, pictures that are to be shown as reports/figures/NAME.png.
        new: items computed or fetched by this run, where the stage keeps a store.
        reused: items taken from the store.
        device: torch device of the heavy part; "cpu" where there is none.
        precision: arithmetic of the heavy part, e.g. "fp32" or "bf16".
        engine: what worked on the items, for a stage that has an engine do it.
        resumed_s: seconds that earlier executions spent on what this one went on from.
    """

    rows: Rows
    figures: Mapping[str, Any] = field(default_factory=dict)
    headline: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    sheets: "Mapping[str, Sheet]" = field(default_factory=dict)
    new: int | None = None
    reused: int | None = None
    device: str = "cpu"
    precision: str | None = None
    engine: str | None = None
    resumed_s: float = field(default=0.0, compare=False)  # no result hangs on it


class Sink(Protocol):
    """Where a running stage sends curves and pictures; whoever shows them, or a list in a test."""

    def start(self, images_seen: int) -> None:
        """A phase begins, or goes on, at so many training images."""

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Take scalar values, with the number of training images seen so far as the x axis."""

    def show(self, phase: str, images_seen: int, images: int, draw: "Callable[[], Sheet]") -> None:
        """Take how far a phase is, of how many images, and what draws pictures of its state."""


class NoSink:
    """A sink that keeps nothing, and draws nothing."""

    def start(self, images_seen: int) -> None:
        """Forget it."""

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Drop the values."""

    def show(self, phase: str, images_seen: int, images: int, draw: "Callable[[], Sheet]") -> None:
        """Drop the pictures undrawn."""


class Tracker(Protocol):
    """Where curves and pictures are kept while a stage runs."""

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Take scalar values, with the number of training images seen so far as the x axis."""

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Take a picture file; it may be overwritten after the call returns."""


class NoTracker:
    """A tracker that keeps nothing."""

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Drop the values."""

    def picture(self, images_seen: int, name: str, path: Path) -> None:
        """Drop the picture."""

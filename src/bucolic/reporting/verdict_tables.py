"""What reports/verdicts.parquet tells at a glance: what is taken for what, and prompt by prompt."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from bucolic.seeing.prompts import OF_ANIMALS, ORDINARY

Verdict = Mapping[str, Any]


@dataclass(frozen=True)
class Confusion:
    """How often each stated value of an attribute was seen as each value.

    Attributes:
        attribute: its name.
        seen: values, the columns.
        rows: by stated value its counts, one a column, and whether that column is the right one.
    """

    attribute: str
    seen: tuple[str, ...]
    rows: tuple[tuple[str, tuple[tuple[int, bool], ...]], ...]


@dataclass(frozen=True)
class PromptLine:
    """One prompt with the outcome of its draws.

    Attributes:
        text: the prompt.
        right: draws in which all that it states is seen; None where it states nothing.
        found: draws in which the judge finds it among its distractors; None where it is not asked.
        draws: in all.
        mistaken: what was seen in place of what is stated, and how often, the most frequent first.
    """

    text: str
    right: int | None
    found: int | None
    draws: int
    mistaken: tuple[str, ...]


def verdicts_of(table: pa.Table) -> list[Verdict]:
    """The rows of the table on ordinary prompts, their facts as dictionaries."""
    rows = (row for row in table.to_pylist() if row["slice"] == ORDINARY)
    return [{**row, "stated": dict(row["stated"]), "seen": dict(row["seen"])} for row in rows]


def confusions(verdicts: Sequence[Verdict]) -> list[Confusion]:
    """Of what is said of the animals, what is seen; empty without a probe."""
    found = [_confusion(name, verdicts) for name in OF_ANIMALS]
    return [confusion for confusion in found if confusion.rows]


def prompt_lines(verdicts: Sequence[Verdict]) -> list[PromptLine]:
    """One line a prompt, those that fail most first, else in their order."""
    by_prompt: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        by_prompt.setdefault(verdict["prompt"], []).append(verdict)
    lines = [_line(draws) for draws in by_prompt.values()]
    return sorted(lines, key=lambda line: (line.right is None, line.right or 0))


def _confusion(name: str, verdicts: Sequence[Verdict]) -> Confusion:
    pairs = Counter(
        (verdict["stated"][name], verdict["seen"][name])
        for verdict in verdicts
        if name in verdict["stated"] and name in verdict["seen"]
    )
    values = tuple(sorted({value for pair in pairs for value in pair}))
    stated = [value for value in values if any(says == value for says, _ in pairs)]
    rows = tuple(
        (says, tuple((pairs[says, value], says == value) for value in values)) for says in stated
    )
    return Confusion(name, values, rows)


def _line(draws: Sequence[Verdict]) -> PromptLine:
    mistaken = Counter(
        f"{draw['seen'][name]} for {value}"
        for draw in draws
        for name, value in draw["stated"].items()
        if draw["seen"].get(name, value) != value
    )
    return PromptLine(
        text=draws[0]["text"],
        right=_count(draws, "all_right"),
        found=_count(draws, "r_precision"),
        draws=len(draws),
        mistaken=tuple(f"{what} ({times})" for what, times in mistaken.most_common()),
    )


def _count(draws: Sequence[Verdict], name: str) -> int | None:
    given = [draw[name] for draw in draws if draw[name] is not None]
    return sum(given) if given else None

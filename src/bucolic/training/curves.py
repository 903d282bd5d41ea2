"""What training reached: reports/curves/, which DVC can plot, and the figures of train.json.

There is one file of curves a quantity, PHASE-QUANTITY.csv, with images_seen, train and val.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import nn

from bucolic.base.files import replacing, write_text
from bucolic.base.loading import loaded
from bucolic.models.kinds import Kind
from bucolic.training.guidance import Choice

SIDES = ("train", "val")


def write_curves(folder: Path, curves: Sequence[Mapping[str, Any]]) -> None:
    """Write a file for each quantity that was measured on both splits.

    Args:
        folder: takes the place of the one that is there.
        curves: one dictionary for each validation, as in curves.jsonl: phase, images_seen, and
            values under `train_QUANTITY` and `val_QUANTITY`.
    """
    with replacing(folder) as written:
        written.mkdir()
        for phase, quantity in dict.fromkeys(_measured(curves)):
            rows = [row for row in curves if row["phase"] == phase]
            write_text(written / f"{phase}-{quantity}.csv", _table(rows, quantity))


def reached(curves: Sequence[Mapping[str, Any]], kind: Kind, choice: Choice) -> dict[str, Any]:
    """What the kept weights reached on val, with the guidance and steps that were chosen there.

    Args:
        curves: every validation of all phases, as in curves.jsonl.
        kind: says what of them is a figure.
        choice: the frozen one, with what val's pictures are worth with it.
    """
    figures = choice.verdicts[choice.sampling].figures
    on_val = {f"val_{name}": value for name, value in figures.items() if value is not None}
    return {**loaded(kind.reached)(_best(curves)), **asdict(choice.sampling), **on_val}


def spent(
    curves: Sequence[Mapping[str, Any]], networks: Mapping[str, nn.Module]
) -> dict[str, dict[str, int]]:
    """What the kept weights cost, by phase: images seen in all and at the best, and parameters.

    Parameters are those that were trained, a helper that is thrown away included.

    Args:
        curves: every validation of all phases, as in curves.jsonl.
        networks: by phase, what was trained.
    """
    last = {row["phase"]: row for row in curves}
    return {
        "images_seen": {name: row["images_seen"] for name, row in last.items()},
        "best_at_images": {name: row["images_seen"] for name, row in _best(curves).items()},
        "parameters": {
            name: sum(parameter.numel() for parameter in network.parameters())
            for name, network in networks.items()
        },
    }


def _best(curves: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """By phase, the validation whose weights are kept: the first of the lowest loss."""
    best: dict[str, Mapping[str, Any]] = {}
    for row in curves:
        if row["phase"] not in best or row["val_loss"] < best[row["phase"]]["val_loss"]:
            best[row["phase"]] = row
    return best


def _measured(curves: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Phase and quantity of all values that stand beside one of the other split."""
    for row in curves:
        names = [name.removeprefix("val_") for name in row if name.startswith("val_")]
        yield from ((row["phase"], name) for name in names if f"train_{name}" in row)


def _table(rows: Sequence[Mapping[str, Any]], quantity: str) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["images_seen", *SIDES])
    for row in rows:
        writer.writerow([row["images_seen"], *(row[f"{side}_{quantity}"] for side in SIDES)])
    return text.getvalue()

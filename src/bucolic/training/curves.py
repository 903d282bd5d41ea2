"""What training reached: reports/curves/, which DVC can plot, and the figures of train.json.

There is one file of curves a quantity, PHASE-QUANTITY.csv, with images_seen, train and val.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from bucolic.base.files import replacing, write_text
from bucolic.base.loading import loaded
from bucolic.models.kinds import Kind
from bucolic.training.guidance import Sampling

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


def reached(
    curves: Sequence[Mapping[str, Any]],
    kind: Kind,
    networks: Mapping[str, nn.Module],
    sampling: Sampling,
) -> dict[str, Any]:
    """What the kept weights reached on val, where they were found, and what they cost.

    Args:
        curves: every validation of all phases, as in curves.jsonl.
        kind: says what of them is a figure.
        networks: by phase, what was trained.
        sampling: the frozen choice.
    """
    rows = {name: [row for row in curves if row["phase"] == name] for name in networks}
    best = {name: min(found, key=lambda row: row["val_loss"]) for name, found in rows.items()}
    return {
        **loaded(kind.reached)(best),
        "images_seen": {name: found[-1]["images_seen"] for name, found in rows.items()},
        "best_at_images": {name: row["images_seen"] for name, row in best.items()},
        "parameters": {
            name: sum(parameter.numel() for parameter in network.parameters())
            for name, network in networks.items()
        },
        "guidance": sampling.guidance,
        "steps": sampling.steps,
    }


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

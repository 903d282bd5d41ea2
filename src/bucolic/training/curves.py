"""reports/curves/: what training and validation reached meanwhile, in files that DVC can plot.

One file a quantity, PHASE-QUANTITY.csv, with the columns images_seen, train and val.
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bucolic.base.files import replacing, write_text

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

"""Contact sheets: what a person watching the training gets to see."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bucolic.pictures import Pictures, grid, save_png

CELL_PX = 128


def write_sheet(path: Path, rows: Sequence[Pictures], captions: Sequence[str]) -> None:
    """Write rows of pictures as PNG, each column above its caption.

    Args:
        path: the PNG, replaced atomically.
        rows: one array uint8 [columns, 3, s, s] for each row of the sheet.
        captions: one for each column.
    """
    sheet = grid(np.concatenate(rows), len(captions), captions=captions, cell_px=CELL_PX)
    save_png(path, sheet)

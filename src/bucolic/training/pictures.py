"""Contact sheets: rows of pictures, enlarged without smoothing, each column under its caption."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bucolic.files import replacing

CELL_PX = 128
GAP_PX = 6
TEXT_PX = 62
CHARACTERS_PER_LINE = 21
LINES = 4
Pictures = NDArray[np.uint8]


def contact_sheet(rows: Sequence[Pictures], captions: Sequence[str]) -> Image.Image:
    """Lay out pictures.

    Args:
        rows: one array uint8 [columns, 3, s, s] for each row of the sheet.
        captions: one for each column; long ones are cut.
    """
    step = CELL_PX + GAP_PX
    width, height = len(captions) * step + GAP_PX, len(rows) * step + GAP_PX + TEXT_PX
    sheet = Image.new("RGB", (width, height), "white")
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            cell = Image.fromarray(picture.transpose(1, 2, 0)).resize(
                (CELL_PX, CELL_PX), Image.Resampling.NEAREST
            )
            sheet.paste(cell, (GAP_PX + column * step, GAP_PX + row * step))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=11)
    for column, caption in enumerate(captions):
        lines = textwrap.wrap(caption, CHARACTERS_PER_LINE, max_lines=LINES, placeholder="...")
        place = (GAP_PX + column * step, len(rows) * step + GAP_PX)
        draw.multiline_text(place, "\n".join(lines), fill="black", font=font, spacing=2)
    return sheet


def write_sheet(path: Path, rows: Sequence[Pictures], captions: Sequence[str]) -> None:
    """Write a contact sheet as PNG, atomically."""
    with replacing(path) as temporary:
        contact_sheet(rows, captions).save(temporary, "PNG")

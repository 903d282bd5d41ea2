from pathlib import Path

import numpy as np
from PIL import Image

from bucolic.training.pictures import CELL_PX, GAP_PX, contact_sheet, write_sheet


def test_pictures_stand_where_their_row_and_column_say():
    """Each picture is enlarged without smoothing, left to right and top to bottom."""
    rows = [np.full((3, 3, 8, 8), 40 * row, np.uint8) for row in (1, 2)]
    rows[1][2] = 200

    sheet = contact_sheet(rows, ["a", "b", "c"])

    centre, step = GAP_PX + CELL_PX // 2, CELL_PX + GAP_PX
    assert sheet.getpixel((centre, centre)) == (40, 40, 40)
    assert sheet.getpixel((centre + 2 * step, centre + step)) == (200, 200, 200)
    assert sheet.width == 3 * step + GAP_PX


def test_captions_are_written_under_the_pictures():
    """A caption leaves ink below the pictures, an empty one none; long ones are cut, not lost."""
    rows = [np.zeros((1, 3, 8, 8), np.uint8)]

    blank, short, long = (
        np.asarray(contact_sheet(rows, [text]))[CELL_PX + 2 * GAP_PX :]
        for text in ("", "a cow", "a very long caption " * 50)
    )

    assert blank.min() == 255
    assert (short < 128).sum() > 0
    assert (long < 128).sum() > (short < 128).sum()


def test_a_sheet_replaces_the_one_before(tmp_path: Path):
    """The file is a PNG of the sheet's size, and no temporary file stays."""
    rows = [np.zeros((2, 3, 8, 8), np.uint8)]
    for _ in range(2):
        write_sheet(tmp_path / "samples.png", rows, ["a", "b"])

    assert Image.open(tmp_path / "samples.png").size == contact_sheet(rows, ["a", "b"]).size
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]

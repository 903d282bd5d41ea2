from pathlib import Path

import numpy as np
from PIL import Image

from bucolic.pictures import GAP_PX
from bucolic.training.pictures import CELL_PX, write_sheet

STEP = CELL_PX + GAP_PX


def sheet(path: Path, rows: list[np.ndarray], captions: list[str]) -> np.ndarray:
    """The pixels [height, width, 3] of a sheet."""
    write_sheet(path, rows, captions)
    with Image.open(path) as image:
        return np.asarray(image)


def test_pictures_stand_where_their_row_and_column_say(tmp_path: Path):
    """Each picture is enlarged without smoothing, left to right and top to bottom."""
    noise = np.random.default_rng(0).integers(0, 256, (2, 3, 3, 8, 8)).astype(np.uint8)

    pixels = sheet(tmp_path / "samples.png", list(noise), ["a", "b", "c"])

    assert pixels.shape[1] == 3 * STEP
    for row, column in np.ndindex(2, 3):
        top, left = GAP_PX // 2 + row * STEP, GAP_PX // 2 + column * STEP
        found = pixels[top : top + CELL_PX, left : left + CELL_PX]
        large = noise[row, column].repeat(16, 1).repeat(16, 2).transpose(1, 2, 0)
        assert np.array_equal(found, large)


def test_captions_are_written_under_the_pictures(tmp_path: Path):
    """A caption leaves ink below the pictures, an empty one none, and a long one more."""
    rows = [np.zeros((1, 3, 8, 8), np.uint8)]

    blank, short, long = (
        sheet(tmp_path / "samples.png", rows, [text])[CELL_PX + GAP_PX // 2 :]
        for text in ("", "a cow", "a very long caption " * 50)
    )

    assert blank.min() == 255
    assert (short < 128).sum() > 0
    assert (long < 128).sum() > 50 * (short < 128).sum()


def test_a_sheet_replaces_the_one_before(tmp_path: Path):
    """The file has the pictures written last, and no temporary file stays."""
    for grey in (40, 200):
        rows = [np.full((2, 3, 8, 8), grey, np.uint8)]
        pixels = sheet(tmp_path / "samples.png", rows, ["a", "b"])

    assert pixels[STEP // 2, STEP // 2].tolist() == [200, 200, 200]
    assert [path.name for path in tmp_path.iterdir()] == ["samples.png"]

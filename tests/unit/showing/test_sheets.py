from pathlib import Path

import numpy as np
from PIL import Image

from bucolic.base.sheet import Block
from bucolic.showing.pictures import CELL_PX, GAP_PX, INK, LABEL_PX, LINE_PX, save_sheet

STEP = CELL_PX + GAP_PX
SCALE = CELL_PX // 16
HEADING_PX = LINE_PX + GAP_PX


def noise(n: int, seed: int = 0) -> np.ndarray:
    """Noise pictures of 16 px."""
    return np.random.default_rng(seed).integers(0, 256, (n, 3, 16, 16)).astype(np.uint8)


def titled(pictures: np.ndarray, prompts: list[str]) -> Block:
    """A block with a title."""
    return Block(pictures, captions=prompts, title="Title")


def large(picture: np.ndarray) -> np.ndarray:
    """A picture as [height, width, 3], each pixel repeated up to the size of a cell."""
    return picture.repeat(SCALE, 1).repeat(SCALE, 2).transpose(1, 2, 0)


def read(path: Path) -> np.ndarray:
    """The pixels [height, width, 3]."""
    with Image.open(path) as image:
        return np.asarray(image)


def cell(sheet: np.ndarray, row_top: int, column: int, left: int = 0) -> np.ndarray:
    """The pixels of one picture of a row that begins at `row_top`."""
    top, start = row_top + GAP_PX // 2, left + GAP_PX // 2 + column * STEP
    return sheet[top : top + CELL_PX, start : start + CELL_PX]


def label(sheet: np.ndarray, row_top: int, column: int, left: int = 0) -> np.ndarray:
    """The pixels of one line of text below a picture."""
    top, start = row_top + STEP - GAP_PX // 4, left + GAP_PX // 2 + column * STEP
    return sheet[top : top + LINE_PX, start : start + CELL_PX]


def has_ink(pixels: np.ndarray) -> bool:
    """Whether something is written there."""
    return bool((pixels == INK).all(axis=-1).any())


def test_samples_are_the_pictures_in_the_order_of_their_prompts(tmp_path: Path):
    """Five pictures: four in the first row, one in the second, each over its own prompt."""
    pictures, prompts = noise(5), ["a cow", "two sheep", "a horse", "a cow", "a goat"]
    save_sheet(tmp_path / "samples.png", [titled(pictures, prompts)])
    sheet = read(tmp_path / "samples.png")
    tops = HEADING_PX + np.array([0, 0, 0, 0, STEP + LINE_PX])
    places = list(zip(tops, (0, 1, 2, 3, 0), strict=True))
    assert (HEADING_PX + 2 * (STEP + LINE_PX), 4 * STEP, 3) == sheet.shape
    for picture, place in zip(pictures, places, strict=True):
        assert np.array_equal(cell(sheet, *place), large(picture))
    labels = [label(sheet, *place) for place in places]
    assert all(has_ink(pixels) for pixels in labels)
    assert 4 == len({pixels.tobytes() for pixels in labels})
    for pixels, prompt in zip(labels, prompts, strict=True):
        save_sheet(tmp_path / "alone.png", [titled(pictures[:1], [prompt])])
        assert np.array_equal(label(read(tmp_path / "alone.png"), HEADING_PX, 0), pixels)
    assert has_ink(sheet[:HEADING_PX])
    assert (sheet[tops[4] :, STEP:] == 255).all()


def test_blocks_stand_below_one_another(tmp_path: Path):
    """The second block begins where the first ends."""
    first, second = titled(noise(1), ["a cow"]), titled(noise(2, 1), ["a", "b"])
    save_sheet(tmp_path / "one.png", [first])
    save_sheet(tmp_path / "both.png", [first, second])
    one, both = read(tmp_path / "one.png"), read(tmp_path / "both.png")
    assert np.array_equal(one[HEADING_PX:, :STEP], both[HEADING_PX : len(one), :STEP])
    assert 2 * len(one) == len(both)
    for column, picture in enumerate(second.pictures):
        assert np.array_equal(cell(both, len(one) + HEADING_PX, column), large(picture))


def test_the_same_pictures_give_the_same_bytes(tmp_path: Path):
    """Nothing of the clock or the path enters the file."""
    for name in ("a.png", "b.png"):
        save_sheet(tmp_path / name, [titled(noise(2), ["a cow", "a goat"])])
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_comparison_has_a_row_an_arm_and_a_column_a_prompt(tmp_path: Path):
    """Three arms of two pictures: each in its place, its arm's label left, the prompts below."""
    arms = {"test image": noise(2), "model": noise(2, 1), "mean": noise(2, 2)}
    pictures = np.concatenate(list(arms.values()))
    block = Block(pictures, columns=2, captions=["a cow", "two sheep"], labels=list(arms))
    save_sheet(tmp_path / "bounds.png", [block])
    sheet = read(tmp_path / "bounds.png")
    assert (3 * STEP + LINE_PX, LABEL_PX + 2 * STEP, 3) == sheet.shape
    for row, of_arm in enumerate(arms.values()):
        for column, picture in enumerate(of_arm):
            assert np.array_equal(cell(sheet, row * STEP, column, LABEL_PX), large(picture))
    sides = [sheet[row * STEP : (row + 1) * STEP, :LABEL_PX] for row in range(3)]
    below = [label(sheet, 2 * STEP, column, LABEL_PX) for column in range(2)]
    assert all(has_ink(pixels) for pixels in (*sides, *below))
    assert 3 == len({pixels.tobytes() for pixels in sides})
    assert not np.array_equal(*below)


def test_captions_may_stand_below_the_last_row_alone(tmp_path: Path):
    """Two rows of three in small cells: no ink between them, the texts below, a long one longer."""
    pictures = noise(6)
    (first, long) = ["a cow", "a", "b"], ["a very long caption " * 50, "a", "b"]
    heights = []
    for captions in (first, long):
        save_sheet(tmp_path / "s.png", [Block(pictures, columns=3, captions=captions)], cell_px=128)
        sheet = read(tmp_path / "s.png")
        step = 128 + GAP_PX
        assert 3 * step == sheet.shape[1]
        assert not has_ink(sheet[128 + GAP_PX // 2 : step])
        assert has_ink(sheet[2 * step - GAP_PX // 4 :])
        heights.append(len(sheet))
    assert heights[1] - heights[0] > 10 * LINE_PX


def test_a_sheet_replaces_the_one_before(tmp_path: Path):
    """The file has the pictures written last, and no temporary file stays."""
    for grey in (40, 200):
        save_sheet(tmp_path / "s.png", [Block(np.full((2, 3, 8, 8), grey, np.uint8))])
    assert read(tmp_path / "s.png")[STEP // 2, STEP // 2].tolist() == [200, 200, 200]
    assert [path.name for path in tmp_path.iterdir()] == ["s.png"]

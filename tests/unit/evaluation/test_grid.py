from pathlib import Path

import numpy as np
from PIL import Image, ImageFont

from bucolic.evaluation.grid import CELL_PX, Section, save_comparison, save_samples, wrapped


def pictures(n: int) -> np.ndarray:
    """Noise pictures of 16 px."""
    return np.random.default_rng(0).integers(0, 256, (n, 3, 16, 16)).astype(np.uint8)


def test_samples_are_rows_of_enlarged_pictures(tmp_path: Path):
    """Five pictures in columns of four: two rows, four cells wide; the same bytes twice."""
    section = Section("Title", pictures(5), ["a cow"] * 5)
    save_samples(tmp_path / "a.png", [section, Section("none", pictures(0), [])])
    save_samples(tmp_path / "b.png", [section])
    with Image.open(tmp_path / "a.png") as image:
        assert 4 * CELL_PX < image.width < 4.6 * CELL_PX
        assert 2 * CELL_PX < image.height < 3 * CELL_PX
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_a_comparison_has_a_row_an_arm(tmp_path: Path):
    """Three arms and two prompts: three cells high, two wide and the labels."""
    arms = {"test image": pictures(2), "model": pictures(2), "mean": pictures(2)}
    save_comparison(tmp_path / "bounds.png", arms, ["a cow", "two sheep in the snow"])
    with Image.open(tmp_path / "bounds.png") as image:
        assert 3 * CELL_PX < image.height < 4 * CELL_PX
        assert 2 * CELL_PX < image.width < 4 * CELL_PX


def test_words_are_kept_and_lines_fit():
    """Nothing is cut off, and no line is wider than asked unless one word is."""
    font = ImageFont.load_default(15)
    assert isinstance(font, ImageFont.FreeTypeFont)
    text = "three brown alpacas stand behind a fence on a snowy hill under a grey sky"
    lines = wrapped(text, font, 120)
    assert " ".join(lines) == text
    assert len(lines) > 3
    assert max(font.getlength(line) for line in lines) <= 120

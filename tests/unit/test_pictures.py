"""Saving generated pictures."""

from pathlib import Path

import numpy as np
from PIL import Image

from bucolic.pictures import save_pictures

PROMPTS = ("Two cows, under a blue sky", "a horse")


def drawn(count: int) -> np.ndarray:
    """Flat pictures, each of its own grey."""
    greys = np.arange(2 * count, dtype=np.uint8).reshape(2, count, 1, 1, 1)
    return np.broadcast_to(greys, (2, count, 3, 64, 64)).copy()


def test_a_png_is_one_grid(tmp_path: Path):
    """Five pictures of two prompts make four rows of at most four, enlarged four times."""
    paths = save_pictures(drawn(5), PROMPTS, tmp_path / "grid.png", seed=7)
    assert [tmp_path / "grid.png"] == paths
    with Image.open(paths[0]) as grid:
        assert (4 * 260 - 4, 4 * 260 - 4) == grid.size
        assert [0, 4, 5, 9] == [grid.getpixel((128, 260 * row + 128))[0] for row in range(4)]
        assert ("; ".join(PROMPTS), "7") == (grid.text["prompt"], grid.text["seed"])


def test_any_other_name_is_a_folder_of_single_pictures(tmp_path: Path):
    """Each picture is a file in its own size, named by prompt and number, its prompt inside."""
    paths = save_pictures(drawn(2), PROMPTS, tmp_path / "out", seed=0)
    assert [
        "00-000-two-cows-under-a-blue-sky.png",
        "00-001-two-cows-under-a-blue-sky.png",
        "01-000-a-horse.png",
        "01-001-a-horse.png",
    ] == [path.name for path in paths]
    with Image.open(paths[3]) as picture:
        assert ((64, 64), 3) == (picture.size, picture.getpixel((0, 0))[0])
        assert "a horse" == picture.text["prompt"]

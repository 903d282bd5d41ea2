"""Grids of pictures, and saving generated ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from bucolic.base.errors import ParamsError
from bucolic.showing.pictures import (
    CELL_PX,
    GAP_PX,
    LINE_PX,
    enlarged,
    grid,
    require_place,
    save_pictures,
    stacked,
    wrapped,
)

PROMPTS = ("Two cows, under a blue sky", "a horse")
STEP = CELL_PX + GAP_PX


def drawn(count: int) -> np.ndarray:
    """Noise for two prompts, uint8 [2, count, 3, 64, 64]."""
    return np.random.default_rng(0).integers(0, 256, (2, count, 3, 64, 64)).astype(np.uint8)


def cell(sheet: Image.Image, row: int, column: int) -> np.ndarray:
    """Every fourth pixel of a cell of a grid without captions, as [3, 64, 64]."""
    left, top = GAP_PX // 2 + column * STEP, GAP_PX // 2 + row * STEP
    pixels = np.asarray(sheet)[top : top + CELL_PX, left : left + CELL_PX]
    return pixels[::4, ::4].transpose(2, 0, 1)


def test_a_png_is_one_grid(tmp_path: Path):
    """Five pictures of two prompts make four rows of at most four, in the prompts' order."""
    pictures = drawn(5)
    paths = save_pictures(pictures, PROMPTS, tmp_path / "grid.png", origin={"seed": "7"})
    assert [tmp_path / "grid.png"] == paths
    with Image.open(paths[0]) as sheet:
        assert (4 * STEP, 4 * STEP) == sheet.size
        assert ("; ".join(PROMPTS), "7") == (sheet.text["prompt"], sheet.text["seed"])
        for prompt in range(2):
            for i in range(5):
                found = cell(sheet, 2 * prompt + i // 4, i % 4)
                assert np.array_equal(found, pictures[prompt, i])
        assert (cell(sheet, 1, 1) == 255).all()


def test_any_other_name_is_a_folder_of_single_pictures(tmp_path: Path):
    """Each picture is a file in its own size, named by prompt and number, its prompt inside."""
    pictures = drawn(2)
    paths = save_pictures(pictures, PROMPTS, tmp_path / "out", origin={"seed": "3"})
    assert [
        "00-000-two-cows-under-a-blue-sky.png",
        "00-001-two-cows-under-a-blue-sky.png",
        "01-000-a-horse.png",
        "01-001-a-horse.png",
    ] == [path.name for path in paths]
    for path, prompt, picture in zip(
        paths, np.repeat(PROMPTS, 2), pictures.reshape(4, 3, 64, 64), strict=True
    ):
        with Image.open(path) as image:
            assert np.array_equal(np.asarray(image).transpose(2, 0, 1), picture)
            assert (prompt, "3") == (image.text["prompt"], image.text["seed"])


@pytest.mark.parametrize("name", ["album.png", "out"])
def test_a_folder_in_a_picture_s_place_is_kept(tmp_path: Path, name: str):
    """A picture never replaces a folder and what is in it: one line says to choose another name."""
    place = tmp_path / name
    if name == "out":
        place = place / "00-000-two-cows-under-a-blue-sky.png"
    place.mkdir(parents=True)
    (place / "dear.txt").write_text("mine")
    with pytest.raises(ParamsError, match=r"\.png is a folder: ") as caught:
        save_pictures(drawn(1), PROMPTS, tmp_path / name, origin={"seed": "0"})
    assert 1 == len(str(caught.value).splitlines())
    assert "mine" == (place / "dear.txt").read_text()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ""])
def test_a_name_that_is_too_long_is_one_line(tmp_path: Path, suffix: str):
    """Whatever it would have been the name of."""
    with pytest.raises(ParamsError, match="File name too long: choose another place"):
        require_place(tmp_path / ("x" * 300 + suffix))


@pytest.mark.parametrize("name", ["notes", "notes/out", "notes/grid.png", "notes/deeper/grid.png"])
def test_a_file_in_a_folder_s_place_is_kept(tmp_path: Path, name: str):
    """Where a file stands in the way of the folder to write, one line names it."""
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(ParamsError, match="notes is a file: ") as caught:
        save_pictures(drawn(1), PROMPTS, tmp_path / name, origin={"seed": "0"})
    assert 1 == len(str(caught.value).splitlines())
    assert "mine" == (tmp_path / "notes").read_text()


def test_a_folder_takes_its_own_pictures_again(tmp_path: Path):
    """The same prompts with another seed replace what an earlier call made."""
    first = save_pictures(drawn(1), PROMPTS, tmp_path / "out", origin={"seed": "0"})
    assert first == save_pictures(drawn(1), PROMPTS, tmp_path / "out", origin={"seed": "1"})
    with Image.open(first[0]) as image:
        assert "1" == image.text["seed"]


@pytest.mark.parametrize("theirs", ["notes", "photo", "empty", "link", "broken link"])
def test_a_file_of_the_user_s_in_a_folder_is_kept(tmp_path: Path, theirs: str):
    """Where another's file or link has a picture's name, nothing is written, one line names it."""
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.png"
    first, last = save_pictures(drawn(1), PROMPTS, out, origin={"seed": "0"})
    last.replace(elsewhere)
    if "link" in theirs:
        last.symlink_to(elsewhere if theirs == "link" else "nowhere")
    elif theirs == "photo":
        Image.new("RGB", (8, 8)).save(last)
    else:
        last.write_text("mine" if theirs == "notes" else "")

    def content() -> list[object]:
        """What is there: both files, and the link itself."""
        return [first.read_bytes(), last.exists() and last.read_bytes(), last.is_symlink()]

    before = content()
    with pytest.raises(ParamsError, match=r"a-horse\.png is there and not bucolic's") as caught:
        save_pictures(drawn(1), PROMPTS, out, origin={"seed": "2"})
    assert before == content()
    assert 1 == len(str(caught.value).splitlines())


def test_a_link_in_a_picture_s_place_gives_way_and_its_file_stays(tmp_path: Path):
    """Where --out is a link to a file, the picture takes the link's place."""
    (tmp_path / "mine.png").write_text("mine")
    (tmp_path / "grid.png").symlink_to("mine.png")
    save_pictures(drawn(1), PROMPTS, tmp_path / "grid.png", origin={"seed": "0"})
    assert "mine" == (tmp_path / "mine.png").read_text()
    assert not (tmp_path / "grid.png").is_symlink()


def test_a_linked_folder_takes_the_pictures(tmp_path: Path):
    """A link to a folder is the user's own way there: what else it holds stays."""
    (tmp_path / "album").mkdir()
    (tmp_path / "album/dear.txt").write_text("mine")
    (tmp_path / "out").symlink_to("album")
    save_pictures(drawn(1), PROMPTS, tmp_path / "out", origin={"seed": "0"})
    assert ["00-000-two-cows-under-a-blue-sky.png", "01-000-a-horse.png", "dear.txt"] == sorted(
        path.name for path in (tmp_path / "album").iterdir()
    )


@pytest.mark.parametrize(
    "prompt", ["../../etc/passwd", "/etc/passwd", "..", "C:\\x", "a\0b\nc", "🐄", "-rf", "牛" * 90]
)
def test_a_prompt_names_a_file_in_the_folder(tmp_path: Path, prompt: str):
    """Whatever a prompt holds, its pictures lie in the folder asked for."""
    (path,) = save_pictures(drawn(1)[:1], [prompt], tmp_path / "out", origin={"seed": "0"})
    assert [path] == list((tmp_path / "out").iterdir())
    assert ["out"] == [place.name for place in tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "x" * 300, "loop.png/grid.png"])
def test_a_place_that_no_file_can_have_is_one_line(tmp_path: Path, name: str):
    """A name too long and a link to itself are told with the system's own words."""
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ParamsError) as caught:
        save_pictures(drawn(1), PROMPTS, tmp_path / name, origin={"seed": "0"})
    assert 1 == len(str(caught.value).splitlines())


@pytest.mark.parametrize(("size_px", "side_px", "scale"), [(8, 24, 3), (8, 31, 3), (8, 5, 1)])
def test_a_pixel_becomes_a_square(size_px: int, side_px: int, scale: int):
    """Pictures grow by the largest whole factor that fits, and never shrink."""
    picture = drawn(1)[0, 0, :, :size_px, :size_px]
    expected = picture.repeat(scale, 1).repeat(scale, 2).transpose(1, 2, 0)
    assert np.array_equal(np.asarray(enlarged(picture, side_px)), expected)


def test_captions_of_one_row_stand_under_the_last():
    """Two captions for two rows of two: the first row keeps its height, the last has the text."""
    pictures = drawn(2).reshape(4, 3, 64, 64)
    bare, captioned = grid(pictures, 2), grid(pictures, 2, captions=["a cow", "two sheep"])
    assert (2 * STEP, 2 * STEP) == bare.size
    assert (2 * STEP, 2 * STEP + LINE_PX) == captioned.size
    height = 2 * STEP - GAP_PX // 2
    assert np.array_equal(np.asarray(bare)[:height], np.asarray(captioned)[:height])
    left, right = np.split(np.asarray(captioned)[height:], 2, axis=1)
    assert left.min() < 128
    assert right.min() < 128
    assert not np.array_equal(left, right)


def test_a_long_word_stays_out_of_the_next_column():
    """A word wider than its picture is cut at its own column's edge."""
    pictures = drawn(1)[:, 0]
    sheet = np.asarray(grid(pictures, 2, captions=["w" * 200, ""]))
    assert sheet[STEP:, :STEP].min() < 128
    assert (sheet[STEP:, STEP:] == 255).all()


def test_stacked_images_stand_flush_left():
    """The narrower of two images is filled up with paper."""
    black, grey = Image.new("RGB", (2, 3), "black"), Image.new("RGB", (4, 1), (9, 9, 9))
    pixels = np.asarray(stacked([black, grey]))
    assert (4, 4, 3) == pixels.shape
    assert (pixels[:3, :2] == 0).all()
    assert (pixels[:3, 2:] == 255).all()
    assert (pixels[3] == 9).all()


def test_words_are_kept_and_lines_fit():
    """Nothing is cut off, and no line is wider than asked unless one word is."""
    font = ImageFont.load_default(15)
    assert isinstance(font, ImageFont.FreeTypeFont)
    text = "three brown alpacas stand behind a fence on a snowy hill under a grey sky"
    lines = wrapped(text, font, 120)
    assert " ".join(lines) == text
    assert len(lines) > 3
    assert max(font.getlength(line) for line in lines) <= 120
    assert [] == wrapped(" ", font, 120)

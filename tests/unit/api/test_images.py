"""Pictures that callers pass: all forms come to the same pixels, everything else is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bucolic.api.images import images_of, one_image, pixels_of
from bucolic.base.errors import DataError, ParamsError


def _array(height: int = 40, width: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (3, height, width), dtype=np.uint8)


def _image(array: np.ndarray) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(array.transpose(1, 2, 0)))


def test_all_forms_of_a_picture_are_one(tmp_path: Path):
    """A file, its name, an opened picture and an array give the same pixels."""
    array = _array()
    path = tmp_path / "cow.png"
    _image(array).save(path)

    for given in (path, str(path), Image.open(path), _image(array), array):
        (found,) = images_of("images", given)
        assert np.array_equal(np.asarray(found).transpose(2, 0, 1), array)
        assert one_image("image", given).tobytes() == found.tobytes()


def test_lists_and_stacks_keep_their_order():
    """Forms may be mixed; a stack is one picture a row."""
    stack = np.stack([_array(), 255 - _array()])

    mixed = images_of("images", [stack[1], _image(stack[0])])
    stacked = images_of("images", stack)

    assert [m.tobytes() for m in mixed] == [s.tobytes() for s in stacked[::-1]]


def test_pixels_are_those_of_the_shards():
    """The shorter side is scaled, the centre square kept; a picture of that size stays as it is."""
    wide = np.zeros((3, 64, 128), np.uint8)
    wide[:, :, 32:96] = 200

    pixels = pixels_of([_image(wide), _image(_array(32, 32))], 32)

    assert pixels.shape == (2, 3, 32, 32)
    assert pixels.dtype == np.uint8
    assert (pixels[0][:, :, 2:-2] == 200).all()
    assert np.array_equal(pixels[1], _array(32, 32))


def test_a_turned_photograph_is_shown_upright(tmp_path: Path):
    """Exif's orientation counts, as in the pipeline."""
    exif = Image.Exif()
    exif[0x0112] = 6
    _image(_array(20, 40)).save(tmp_path / "turned.png", exif=exif)

    assert one_image("image", tmp_path / "turned.png").size == (20, 40)


@pytest.mark.parametrize(
    "given",
    [
        7,
        None,
        b"cow.png",
        np.zeros((3, 8, 8), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((3, 0, 8), np.uint8),
        [[_array()]],
        {"cow.png"},
    ],
)
def test_what_is_no_picture_is_refused_in_one_line(given: Any):
    """The message says what is wanted, and what came."""
    with pytest.raises(ParamsError, match="images must be a path, a Pillow image") as caught:
        images_of("images", given)
    assert len(str(caught.value).splitlines()) == 1


def test_pictures_that_pillow_cannot_finish_are_refused_in_one_line(tmp_path: Path):
    """A torn file that was opened, a closed one, and one without a pixel."""
    _image(_array()).save(tmp_path / "cow.png")
    torn = tmp_path / "torn.png"
    torn.write_bytes((tmp_path / "cow.png").read_bytes()[:2000])
    closed = Image.open(tmp_path / "cow.png")
    closed.close()
    for given in (Image.open(torn), closed, Image.new("RGB", (0, 5))):
        with pytest.raises(DataError, match=r"^image: ") as caught:
            one_image("image", given)
        assert len(str(caught.value).splitlines()) == 1


def test_nobodys_home_is_told_in_one_line():
    """A name with a tilde before it is somebody's home, or refused."""
    with pytest.raises(ParamsError, match=r"image '~nobody-of-this-name/cow\.png': "):
        one_image("image", "~nobody-of-this-name/cow.png")


def test_no_picture_at_all_is_refused():
    """An empty list is no wish."""
    with pytest.raises(ParamsError, match="images is empty"):
        images_of("images", [])


def test_files_that_are_no_pictures_are_named(tmp_path: Path):
    """A missing file, a text, a folder and a name that no system takes: DataError, one line."""
    (tmp_path / "notes.md").write_text("# mine")
    for name in ("nowhere.png", "notes.md", ".", "a\0b.png"):
        with pytest.raises(DataError) as caught:
            images_of("images", tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1
        assert str(tmp_path) in str(caught.value)

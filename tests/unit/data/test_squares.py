"""Squares: cut about the centre or the subject, coded in three ways, kept whole or made again."""

import hashlib
import io
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bucolic.data.images import check_image, decoded
from bucolic.data.instances import Box, subject_of
from bucolic.data.squares import VERSION, Cropping, Framing, Squares, SquareStore, Subject
from picture_files import encoded

DIGESTS = ["9edaabdb6b4d", "e4e956455193"]
DIGEST = hashlib.sha256(b"an original").hexdigest()


def striped() -> Image.Image:
    """A picture 96 px wide and 32 high, whose columns are 0 to 95."""
    columns = np.broadcast_to(np.arange(96, dtype=np.uint8)[None, :, None], (32, 96, 3))
    return Image.fromarray(np.ascontiguousarray(columns))


def smooth(width: int, height: int) -> Image.Image:
    """A picture as photographs are: no two neighbours differ by much."""
    rows, columns = np.mgrid[0:height, 0:width] / 40
    waves = [np.sin(rows + k) + np.cos(columns * (k + 1) / 2) for k in range(3)]
    return Image.fromarray((127 + 60 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8))


def pixels(content: bytes) -> np.ndarray:
    """Int [size, size, 3] of a file."""
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), int)


def kept(cache: Path, framing: Framing) -> SquareStore:
    """The store of what is packed."""
    return Squares(cache, framing).packed


@pytest.mark.parametrize(
    ("subject", "first"),
    [(None, 32), ((96, 32), 32), ((48, 60), 8), ((0, 0), 0), ((192, 32), 64), ((900, 900), 64)],
)
def test_a_square_lies_as_near_to_the_subject_as_the_picture_goes(
    subject: tuple[int, int] | None, first: int
):
    """About the subject's centre, in pixels of an annotation of twice the size, else its own."""
    about = subject and Subject(*subject, 192, 64)
    square = pixels(Framing(size_px=32, crop="subject").file_of(striped(), about))
    assert list(range(first, first + 32)) == square[16, :, 0].tolist()


def test_a_picture_shown_on_its_other_side_keeps_its_middle():
    """Where a subject lies after an unknown turn is not known."""
    turned = Subject(3, 90, 32, 96)
    square = pixels(Framing(size_px=32, crop="subject").file_of(striped(), turned))
    assert list(range(32, 64)) == square[16, :, 0].tolist()


def test_a_subject_changes_nothing_of_a_centre_crop():
    """crop: centre gives the same bytes whatever is known of the picture."""
    framing = Framing(size_px=32)
    plain = framing.file_of(striped(), None)
    assert plain == framing.file_of(striped(), Subject(9, 9, 96, 32))


@pytest.mark.parametrize(("form", "most"), [("png", 0), ("webp", 0), ("jpeg", 8)])
def test_png_and_webp_are_lossless_and_jpeg_is_close(form: str, most: int):
    """Each format opens as what it is, with the same pixels up to what JPEG loses."""
    exact = pixels(Framing(size_px=64).file_of(smooth(200, 150), None))
    content = Framing(size_px=64, format=form).file_of(smooth(200, 150), None)
    assert form.upper() == Image.open(io.BytesIO(content)).format
    assert most >= np.abs(pixels(content) - exact).max()


def test_a_scaled_decode_looks_the_same(coco_mini: Path):
    """Photographs of any size lie in the square as those decoded whole do: at 37 dB or more."""
    framing = Framing(size_px=64, scaled_decode=True)
    psnrs_db, sizes = [], set()
    for path in sorted((coco_mini / "train2017").glob("*.jpg")):
        content = path.read_bytes()
        make = partial(kept(path, framing).make, subject=None)
        whole, scaled = (pixels(decoded(content, make, px)) for px in (None, framing.decode_px))
        sizes.add(decoded(content, lambda picture, size: size[0] / picture.width, 96))
        psnrs_db.append(10 * np.log10(255**2 / ((whole - scaled) ** 2).mean()))
    assert len(sizes) > 2  # some sizes are no multiples
    assert 37 <= min(psnrs_db)
    assert 44 <= np.mean(psnrs_db)


@pytest.mark.parametrize("cut", [0.3, 0.6, 0.95])
def test_a_scaled_decode_finds_a_torn_file_as_a_whole_one_does(cut: float):
    """It reads the stream to its end: status and reason are the same."""
    content = encoded(smooth(640, 480), "JPEG", quality=90)
    torn = content[: int(cut * len(content))]
    whole, scaled = (check_image(torn, 640, 480, decode_px=px) for px in (None, 128))
    assert "corrupt" == whole.status
    assert whole == scaled


def test_a_turned_photograph_fits_either_size_when_decoded_scaled():
    """Sides are compared at full size, as stored and as shown."""
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(smooth(640, 481), "JPEG", exif=exif)
    for size, status in (((640, 481), "ok"), ((481, 640), "ok"), ((640, 480), "wrong_size")):
        assert status == check_image(content, *size, decode_px=64).status
    plain = encoded(smooth(640, 481), "JPEG")
    assert "wrong_size" == check_image(plain, 481, 640, decode_px=64).status


def test_a_kept_square_is_found_and_a_torn_one_is_not(tmp_path: Path):
    """What has lost its end is not held any more, so that it is made again."""
    store = kept(tmp_path, Framing(size_px=32))
    made = store.make(striped(), (96, 32), None)
    assert store.find(DIGEST, None) is None
    store.add(DIGEST, None, made)
    assert store.holds(DIGEST, None)
    assert made == store.find(DIGEST, None)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    path.write_bytes(path.read_bytes()[:-40])
    assert store.find(DIGEST, None) is None
    assert not store.holds(DIGEST, None)


def test_squares_of_another_framing_or_subject_are_others(tmp_path: Path):
    """Size, crop, format and scale each have their own; a subject counts where it is looked at."""
    plain = kept(tmp_path, Framing(size_px=32))
    plain.add(DIGEST, None, plain.make(striped(), (96, 32), None))
    for changed in ({"size_px": 48}, {"format": "webp"}, {"scaled_decode": True}):
        assert not kept(tmp_path, Framing(**{"size_px": 32, **changed})).holds(DIGEST, None)
    left, right = Subject(20, 16, 96, 32), Subject(70, 16, 96, 32)
    assert plain.holds(DIGEST, left)
    about = kept(tmp_path, Framing(size_px=32, crop="subject"))
    about.add(DIGEST, left, about.make(striped(), (96, 32), left))
    held = [about.holds(DIGEST, subject) for subject in (left, right, None)]
    assert [True, False, False] == held


@pytest.mark.parametrize(
    ("framing", "sides"), [(Framing(size_px=64), [64]), (Framing(size_px=128), [128, 64])]
)
def test_one_decode_makes_what_is_packed_and_what_is_compared(
    tmp_path: Path, framing: Framing, sides: list[int]
):
    """Which are one where pictures are packed as they are compared, at 64 px."""
    squares = Squares(tmp_path, framing)
    made = squares.make(striped(), (96, 32), None)
    assert sides == [pixels(content).shape[0] for content in made]
    assert not squares.hold(DIGEST, None)
    squares.add(DIGEST, None, made)
    assert squares.hold(DIGEST, None)
    assert (made[0], made[-1]) == tuple(
        store.find(DIGEST, None) for store in (squares.packed, squares.compared)
    )


def test_what_is_kept_already_is_not_kept_twice(tmp_path: Path):
    """Pictures of another size are compared as before."""
    for framing in (Framing(size_px=32), Framing(size_px=128)):
        squares = Squares(tmp_path, framing)
        squares.add(DIGEST, None, squares.make(striped(), (96, 32), None))
    packs = [len(list(store.folder.iterdir())) for store in squares.stores]
    assert packs == [1, 1]


def test_a_square_of_another_making_has_another_version():
    """What is kept under one VERSION is one thing: raise it with these digests."""
    assert VERSION == 1
    framings = [Framing(size_px=32), Framing(size_px=32, crop="subject", format="webp")]
    levels = np.random.default_rng(0).integers(0, 256, (150, 200, 3), dtype=np.uint8)
    subject = Subject(20, 70, 200, 150)
    made = [pixels(f.file_of(Image.fromarray(levels), subject)).astype("<i4") for f in framings]
    assert [hashlib.sha256(each.tobytes()).hexdigest()[:12] for each in made] == DIGESTS


def test_two_subjects_near_one_another_have_names_of_their_own():
    """A large picture has places that differ in their seventh digit."""
    cropping = Cropping(crop="subject")
    names = {cropping.name_of(DIGEST, Subject(x, 500, 2000, 1000)) for x in (1000.4951, 1000.5049)}
    assert 2 == len(names)


@pytest.mark.parametrize(
    ("boxes", "subject"),
    [
        ([(10, 10, 20, 20)], (20, 20)),
        ([(10, 10, 20, 20), (80, 10, 20, 40)], (55, 30)),
        ([(0, 0, 20, 20), (150, 60, 40, 40)], (170, 80)),
    ],
)
def test_a_subject_is_all_boxes_where_a_square_holds_them_else_the_largest(
    boxes: list[tuple[int, int, int, int]], subject: tuple[float, float]
):
    """In a picture of 200 by 100 px."""
    found = subject_of([Box(*box) for box in boxes], 200, 100)
    assert Subject(*subject, 200, 100) == found


def test_a_picture_without_a_box_or_a_size_has_no_subject():
    """A box in pixels of an unknown size lies nowhere."""
    assert subject_of([], 200, 100) is None
    assert subject_of([Box(1, 1, 2, 2)], None, 100) is None

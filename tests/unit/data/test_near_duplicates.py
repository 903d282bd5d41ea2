"""Near duplicates: the same photograph in another file is found, and another picture never is."""

import io
from collections.abc import Collection, Iterator
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bucolic.data.duplicates import Placed
from bucolic.data.near_duplicates import (
    MOST_PROPOSED,
    PROPOSED_BITS,
    Looks,
    Near,
    Pixels,
    count_near,
    find_near,
    is_same_picture,
    look_at,
)
from bucolic.data.squares import to_square
from picture_files import encoded


def seen(picture: Image.Image) -> Pixels:
    """A picture as it is compared."""
    return np.asarray(to_square(picture, 64))


def looks_of(pictures: Collection[Pixels]) -> Looks:
    """How pictures look."""
    return Looks.gathered(map(look_at, pictures), len(pictures))


def as_jpeg(picture: Image.Image, quality: int) -> Image.Image:
    """The picture through a JPEG file."""
    content = encoded(picture, "JPEG", quality=quality)
    return Image.open(io.BytesIO(content)).convert("RGB")


def without(picture: Image.Image, left: int, top: int, right: int, bottom: int) -> Image.Image:
    """The picture with that many pixels cut off."""
    return picture.crop((left, top, picture.width - right, picture.height - bottom))


CHANGES = {
    "coded again at 90": lambda p: as_jpeg(p, 90),
    "coded again at 30": lambda p: as_jpeg(p, 30),
    "half the size": lambda p: p.resize((p.width // 2, p.height // 2)),
    "a third, coded at 70": lambda p: as_jpeg(p.resize((p.width // 3, p.height // 3)), 70),
    "a frame of 5 px cut off": lambda p: without(p, 5, 5, 5, 5),
    "8 px of the top cut off": lambda p: without(p, 0, 8, 0, 0),
    "10 px of two sides cut off": lambda p: without(p, 10, 3, 0, 10),
    "a frame cut off, coded at 60": lambda p: as_jpeg(without(p, 8, 8, 8, 8), 60),
}


@pytest.fixture(scope="module")
def photographs(coco_mini: Path) -> list[Image.Image]:
    """Forty photographs of COCO."""
    paths = sorted((coco_mini / "train2017").glob("*.jpg"))[:40]
    return [Image.open(path).convert("RGB") for path in paths]


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_photograph_in_another_file_is_proposed_and_found(
    photographs: list[Image.Image], change: str
):
    """Every one of forty, however it was changed."""
    for photograph in photographs:
        whole, changed = seen(photograph), seen(CHANGES[change](photograph))
        bits = (look_at(whole).hash ^ look_at(changed).hash).bit_count()
        assert bits <= PROPOSED_BITS
        assert is_same_picture(whole, changed)
        assert is_same_picture(changed, whole)


def test_no_two_photographs_are_the_same(photographs: list[Image.Image]):
    """Nor is one the same as its mirror image, or as itself with another thing in it."""
    pictures = [seen(photograph) for photograph in photographs]
    assert not any(is_same_picture(*pair) for pair in combinations(pictures, 2))
    for picture in pictures[:10]:
        assert not is_same_picture(picture, np.ascontiguousarray(picture[:, ::-1]))
        changed = picture.copy()
        changed[24:36, 24:36] = 255 - changed[24:36, 24:36]
        assert not is_same_picture(picture, changed)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_flat_pictures_are_not_the_same(level: int):
    """Two grey walls are two photographs; files that are equal are told by their digests."""
    flat = np.full((64, 64, 3), level, np.uint8)
    nearly = flat.copy()
    nearly[:, :32] ^= 1
    assert not is_same_picture(flat, nearly)
    assert not is_same_picture(flat, flat)


@pytest.mark.parametrize("side", [64, 256, 1024])
def test_noise_is_not_the_same_as_other_noise(side: int):
    """At every scale, down to where little of it is left."""
    draw = np.random.default_rng(0)
    pictures = [
        seen(Image.fromarray(draw.integers(0, 256, (side, side, 3)).astype(np.uint8)))
        for _ in range(12)
    ]
    assert not any(is_same_picture(*pair) for pair in combinations(pictures, 2))


def test_drawings_on_one_ground_are_not_the_same():
    """A dark disc in two places of one sky and meadow."""
    rows, columns = np.mgrid[0:64, 0:64]
    ground = np.stack([60 + rows, 120 + 0 * rows, 200 - 2 * rows], axis=-1).astype(np.uint8)

    def drawn(x: int, y: int) -> Pixels:
        picture = ground.copy()
        picture[(rows - y) ** 2 + (columns - x) ** 2 < 16] = 20
        return picture

    places = [(x, 40) for x in range(8, 60, 6)]
    pictures = [drawn(*place) for place in places]
    assert not any(is_same_picture(*pair) for pair in combinations(pictures, 2))


def test_what_is_left_out_is_on_the_side_that_matters_less(photographs: list[Image.Image]):
    """Of train and val what test has, of train what val has; within one split all stay."""
    one, two, three = (seen(photograph) for photograph in photographs[:3])
    again = [seen(as_jpeg(photograph, 50)) for photograph in photographs[:3]]
    images = {
        Placed(1, "a", "train"): one,
        Placed(2, "b", "test"): again[0],
        Placed(3, "c", "val"): seen(without(photographs[0], 4, 4, 4, 4)),
        Placed(4, "d", "train"): two,
        Placed(5, "e", "val"): again[1],
        Placed(6, "f", "train"): three,
        Placed(7, "g", "train"): again[2],
    }
    looks = looks_of(images.values())
    found = find_near(list(images), looks, np.arange(len(images)), images.__getitem__)
    by_id = {image.image_id: image for image in images}
    expected = {1: Near(by_id[1], by_id[2]), 3: Near(by_id[3], by_id[2])}
    assert expected | {4: Near(by_id[4], by_id[5])} == found
    assert {"train": 2, "val": 1} == count_near(found.values())


def scenes_with_another_thing(whole: Pixels) -> Iterator[Pixels]:
    """One scene, each time with another 5 by 5 px of it inverted."""
    for y, x in product(range(0, 60, 4), repeat=2):
        scene = whole.copy()
        scene[y : y + 5, x : x + 5] = 255 - scene[y : y + 5, x : x + 5]
        yield scene


def test_a_copy_is_found_among_many_that_its_hash_is_nearer_to(photographs: list[Image.Image]):
    """Were test full of one scene: a hash has signs alone, and those most alike are compared."""
    found = 0
    for photograph in photographs:
        whole = seen(photograph)
        copy = seen(CHANGES["10 px of two sides cut off"](photograph))
        of_copy = look_at(copy).hash
        apart = (look_at(whole).hash ^ of_copy).bit_count()
        scenes = [
            scene
            for scene in scenes_with_another_thing(whole)
            if (look_at(scene).hash ^ of_copy).bit_count() < apart
            and not is_same_picture(scene, copy)
        ]
        if len(scenes) <= MOST_PROPOSED:
            continue
        pictures = {Placed(0, "copy", "train"): copy, Placed(999, "original", "test"): whole}
        pictures |= {Placed(n, f"scene {n}", "test"): s for n, s in enumerate(scenes, 1)}
        looks = looks_of(pictures.values())
        near = find_near(list(pictures), looks, np.arange(len(pictures)), pictures.__getitem__)
        assert near[0].kept.image_id == 999
        found += 1
    assert found > 8


def test_a_copy_of_what_is_left_out_names_the_picture_that_stays(
    photographs: list[Image.Image], monkeypatch: pytest.MonkeyPatch
):
    """Where train repeats what val has, and val what test has, both are left out for test's."""
    steps = {Placed(1, "a", "train"): 2, Placed(2, "b", "val"): 1, Placed(3, "c", "test"): 0}
    train, val, test = steps
    monkeypatch.setattr(
        "bucolic.data.near_duplicates.is_same_picture",
        lambda first, second: abs(int(first[0, 0, 0]) - int(second[0, 0, 0])) == 1,
    )

    def read(image: Placed) -> Pixels:
        return np.full((64, 64, 3), steps[image], np.uint8)

    found = find_near(list(steps), looks_of([seen(photographs[0])]), np.zeros(3, int), read)
    assert {1: Near(train, test), 2: Near(val, test)} == found

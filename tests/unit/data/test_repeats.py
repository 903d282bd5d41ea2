"""What becomes of each image, where whole splits look alike."""

from collections.abc import Iterator

import numpy as np
import pytest
from PIL import Image

from bucolic.data.duplicates import Placed
from bucolic.data.near_duplicates import Looks, Pixels, look_at
from bucolic.data.repeats import Pictures, account_for, require_apart
from bucolic.data.split import SplitName

SIDE_PX = 80
Box = tuple[int, int, int, int]
WHOLE: Box = (0, 0, SIDE_PX, SIDE_PX)


def scenes(seed: int, count: int) -> list[Image.Image]:
    """Views of one camera, each with a thing of its own in it."""
    ground = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8)
    view = Image.fromarray(ground).resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)

    def scene(number: int) -> Image.Image:
        draw, picture = np.random.default_rng(1000 * seed + number), np.array(view)
        y, x = draw.integers(14, 58, 2)
        picture[y : y + 8, x : x + 8] = draw.integers(0, 256, 3)
        return Image.fromarray(picture)

    return [scene(number) for number in range(count)]


def seen(picture: Image.Image, box: Box) -> Pixels:
    """What is compared of a part of a picture."""
    return np.asarray(picture.resize((64, 64), Image.Resampling.BICUBIC, box=box))


def placed(pictures: list[Image.Image]) -> Iterator[tuple[Placed, Pixels]]:
    """Forty in test, crops of thirty of them in val and of all in train, and one more in each."""
    parts: list[tuple[SplitName, int, Box, range]] = [
        ("test", 1, WHOLE, range(40)),
        ("val", 100, (1, 0, 80, 79), range(30)),
        ("val", 199, WHOLE, range(40, 41)),
        ("train", 200, (2, 1, 79, 79), range(40)),
        ("train", 299, WHOLE, range(41, 42)),
    ]
    for split, first, box, numbers in parts:
        for place, number in enumerate(numbers):
            image_id = first + place
            yield Placed(image_id, f"{image_id:064x}", split), seen(pictures[number], box)


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_of_a_thousand_alike_is_found_apart(seed: int):
    """Copies that are left out take no place among the few that an image is compared with."""
    pixels = dict(placed(scenes(seed, 42)))
    images = list(pixels)
    looks = Looks.gathered(map(look_at, pixels.values()), len(images))
    ids = np.array([image.image_id for image in images])
    pictures = Pictures(ids, looks, pixels.__getitem__)

    accounts = account_for(images, pictures)

    assert len(accounts.used("train")) < 20
    used = {image_id for split in ("train", "val", "test") for image_id in accounts.used(split)}
    require_apart([image for image in images if image.image_id in used], pictures)

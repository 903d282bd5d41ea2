"""How far apart copies of a picture are, and other pictures: what data/near_duplicates.py rests on.

    python tools/near_duplicate_limits.py --photographs FOLDER [--skip N]

Each photograph is changed at random several times: cropped by up to 10 pixels a side, scaled down
to as little as a third, coded again as JPEG of quality 30 to 95. Other pictures are all pairs of
photographs, and of as many drawn meadows those whose hashes are close enough to be proposed.
"""

import argparse
import io
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from bucolic.data.near_duplicates import (
    MOST_LEFT,
    PROPOSED_BITS,
    Left,
    Pixels,
    left_between,
    look_at,
)
from bucolic.data.squares import COMPARED_PX, to_square
from meadow_data import Recipe, render, say

CHANGES_EACH = 12
MOST_CROPPED_PX = 10
LEAST_SCALE = 1 / 3
QUALITIES = 30, 95
Extreme = Callable[[Iterable[float]], float]


def main() -> None:
    """Measure copies, other photographs and other meadows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True, help="a folder of JPEGs")
    parser.add_argument("--skip", type=int, default=0, help="first ones, which tests use")
    parser.add_argument("--meadows", type=int, default=6400)
    given = parser.parse_args()
    paths = sorted(given.photographs.glob("*.jpg"))[given.skip :]
    photographs = [Image.open(path).convert("RGB") for path in paths]
    seen = [_seen(photograph) for photograph in photographs]
    say(f"{len(seen)} photographs")
    copies = list(_copies(photographs))
    bits = [_bits(seen[place], copy) for place, copy in copies]
    proposed = sum(count <= PROPOSED_BITS for count in bits)
    say(f"{proposed} of {len(bits)} copies are proposed; hashes differ in {max(bits)} bits at most")
    _tell("copies, at most", max, [left_between(seen[place], copy) for place, copy in copies])
    _tell("other photographs, at least", min, [left_between(*pair) for pair in _pairs(seen)])
    meadows = list(render(Recipe(0), given.meadows).pictures.transpose(0, 2, 3, 1))
    close = list(_proposed([_seen(Image.fromarray(meadow)) for meadow in meadows]))
    say(f"{len(close)} pairs of {len(meadows)} meadows are proposed")
    left = [left_between(*pair) for pair in close]
    _tell("these, at least", min, left)
    same = [each for each in left if each and each.share <= MOST_LEFT]
    _tell(f"of these, with {MOST_LEFT} of the contrast at most, at least", min, same)


def _seen(picture: Image.Image) -> Pixels:
    return np.asarray(to_square(picture, COMPARED_PX))


def _bits(first: Pixels, second: Pixels) -> int:
    return (look_at(first).hash ^ look_at(second).hash).bit_count()


def _copies(photographs: Sequence[Image.Image]) -> Iterator[tuple[int, Pixels]]:
    draw = random.Random(0)  # noqa: S311 - no secret
    for place, photograph in enumerate(photographs):
        for _ in range(CHANGES_EACH):
            yield place, _seen(_changed(photograph, draw))


def _changed(picture: Image.Image, draw: random.Random) -> Image.Image:
    left, top, right, bottom = (draw.randint(0, MOST_CROPPED_PX) for _ in range(4))
    cropped = picture.crop((left, top, picture.width - right, picture.height - bottom))
    scale = draw.uniform(LEAST_SCALE, 1)
    small = cropped.resize((round(cropped.width * scale), round(cropped.height * scale)))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=draw.randint(*QUALITIES))
    return Image.open(buffer).convert("RGB")


def _pairs(seen: Sequence[Pixels]) -> Iterator[tuple[Pixels, Pixels]]:
    return combinations(seen, 2)


def _proposed(seen: Sequence[Pixels]) -> Iterator[tuple[Pixels, Pixels]]:
    hashes = np.array([look_at(pixels).hash for pixels in seen], np.uint64)
    for place, of_one in enumerate(hashes):
        close = np.bitwise_count(hashes[place + 1 :] ^ of_one) <= PROPOSED_BITS
        for other in np.flatnonzero(close):
            yield seen[place], seen[place + 1 + other]


def _tell(what: str, extreme: Extreme, found: Sequence[Left | None]) -> None:
    """The extreme of either number; of pairs too far apart to be moved there is none."""
    near = [left for left in found if left is not None]
    if near:
        share, levels = extreme(n.share for n in near), extreme(n.worst_levels for n in near)
        say(f"{what}: {share:.2f} of the contrast, {levels:.1f} levels ({len(near)} pairs)")


if __name__ == "__main__":
    main()

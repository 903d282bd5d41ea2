"""The same picture in another file: coded again, scaled, or cropped by a few pixels.

A perceptual hash proposes pairs: the signs of the lowest frequencies of a small grey picture
(Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions, section 3.2.1).
The pixels decide: one picture of 64 by 64 is moved and scaled onto the other (Lucas and Kanade
1981), and what is left must be little, on average against the picture's contrast, and at every
place. Two photographs of one scene, or two drawings on one ground, differ at some place.

The limits are those of tools/near_duplicate_limits.py, which measures photographs that the tests do
not see. Of 480 changed copies of 40 of COCO's, 479 have hashes that differ in at most 10 of 64
bits, and there is left at most 0.15 of the contrast and 9.0 levels at the worst place. Of 6,400
drawings the nearest two, both of one sea at sunset, have 0.17 and 11.6; where less of the contrast
is left, levels are 14.0 or more.
"""

from collections import Counter
from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import starmap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bucolic.data.duplicates import KEEPERS, Placed
from bucolic.data.squares import COMPARED_PX

Pixels = NDArray[np.uint8]
HASHED_PX, FREQUENCIES = 32, 8
PROPOSED_BITS = 10  # of 64 that the hashes of a pair may differ in
MOST_PROPOSED = 16  # of an image among thousands that look alike, those most alike
LEAST_CONTRAST = 5.0  # levels; below it pictures are flat, and all alike
MOST_MOVED_PX = 2.0
MARGIN_PX = 3  # not compared: what was moved in from outside
MOST_LEFT = 0.16  # of the contrast, root mean square
MOST_LEFT_LEVELS = 12.5  # root mean square in the worst window
WINDOW_PX = 8
ALIGNMENTS = 5
PAIRS_AT_ONCE = 1 << 22  # 32 MB of hashes


class Look(NamedTuple):
    """What is kept of a picture while pairs are looked for.

    Attributes:
        hash: 64 bits.
        contrast: standard deviation of its grey levels.
        low: their lowest frequencies, float16 [64].
    """

    hash: int
    contrast: float
    low: NDArray[np.float16]


@dataclass(frozen=True)
class Looks:
    """The looks of n pictures, as columns: objects would take three times as much.

    Attributes:
        hashes: uint64 [n].
        contrasts: float64 [n].
        lows: float16 [n, 64].
    """

    hashes: NDArray[np.uint64]
    contrasts: NDArray[np.float64]
    lows: NDArray[np.float16]

    @classmethod
    def gathered(cls, looks: Iterable[Look], count: int) -> "Looks":
        """Those of so many pictures, as they come."""
        hashes, contrasts = np.empty(count, np.uint64), np.empty(count)
        lows = np.empty((count, FREQUENCIES**2), np.float16)
        for row, look in zip(range(count), looks, strict=True):
            hashes[row], contrasts[row], lows[row] = look
        return cls(hashes, contrasts, lows)


@dataclass(frozen=True)
class Near:
    """An image that is left out, and the one in a split that matters more that it repeats."""

    image: Placed
    kept: Placed


def looks_at(pixels: Pixels) -> list[Look]:
    """Hash and contrast of each of uint8 [n, 64, 64, 3]."""
    grey = [Image.fromarray(picture).convert("L") for picture in pixels]
    size = (HASHED_PX, HASHED_PX)
    small = np.stack([np.asarray(each.resize(size, Image.Resampling.BICUBIC)) for each in grey])
    low = (_COSINES @ small @ _COSINES.T).reshape(len(pixels), -1)
    # The first is the mean, which says nothing of a picture.
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    numbers = np.packbits(bits, axis=1).view(np.uint64).ravel()
    contrasts = np.stack([np.asarray(each) for each in grey]).std(axis=(1, 2), dtype=float)
    told = zip(numbers.tolist(), contrasts.tolist(), low.astype(np.float16), strict=True)
    return list(starmap(Look, told))


def look_at(pixels: Pixels) -> Look:
    """Those of one, uint8 [64, 64, 3]."""
    (look,) = looks_at(pixels[None])
    return look


def find_near(
    images: Sequence[Placed],
    looks: Looks,
    rows: NDArray[np.intp],
    read: Callable[[Placed], Pixels],
) -> dict[int, Near]:
    """Find, by id, the images that repeat a picture of a split that matters more.

    Splits never move: of a pair the one in train, else the one in val, is what is left out. What
    repeats a picture that is left out itself is left out for the one that stays.

    Args:
        images: n that have a picture.
        looks: of those, and maybe of others.
        rows: where the look of each image is, [n].
        read: its pixels, uint8 [64, 64, 3]; asked for proposed pairs alone.
    """
    found: dict[int, Near] = {}
    for other, keepers in _proposed(images, looks, rows, found):
        pixels = read(other)
        kept = next((keeper for keeper in keepers if is_same_picture(read(keeper), pixels)), None)
        if kept is not None:
            repeated = found.get(kept.image_id)
            found[other.image_id] = Near(other, repeated.kept if repeated else kept)
    return found


def count_near(found: Collection[Near]) -> dict[str, int]:
    """How many are left out of train and of val."""
    out = Counter(near.image.split for near in found)
    return {split: out[split] for split in ("train", "val")}


class Left(NamedTuple):
    """How two pictures differ once one is moved onto the other, root mean square.

    Attributes:
        share: of the contrast.
        worst_levels: in the window of 8 by 8 where they differ most.
    """

    share: float
    worst_levels: float


def is_same_picture(first: Pixels, second: Pixels) -> bool:
    """Whether two pictures, uint8 [64, 64, 3], differ by coding, scale or a small crop alone."""
    left = left_between(first, second)
    return left is not None and left.share <= MOST_LEFT and left.worst_levels <= MOST_LEFT_LEVELS


def left_between(first: Pixels, second: Pixels) -> Left | None:
    """What is left; None of a flat picture, or where one is too far from the other."""
    contrast = float(_grey(first).std())
    if contrast < LEAST_CONTRAST:
        return None
    moved = _aligned(first, second)
    if moved is None:
        return None
    inner = slice(MARGIN_PX, -MARGIN_PX)
    squared = ((_blurred(first) - _blurred(moved))[inner, inner] ** 2).mean(axis=-1)
    worst = _window_means(squared).max()
    return Left(float(np.sqrt(squared.mean()) / contrast), float(np.sqrt(worst)))


def _cosines() -> NDArray[np.float64]:
    """The lowest rows of the orthonormal DCT-II, [8, 32]."""
    frequency, place = np.mgrid[0:FREQUENCIES, 0:HASHED_PX]
    rows = np.cos(np.pi * frequency * (place + 0.5) / HASHED_PX)
    cosines: NDArray[np.float64] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return cosines


_COSINES = _cosines()


def _proposed(
    images: Sequence[Placed], looks: Looks, rows: NDArray[np.intp], left_out: Container[int]
) -> Iterator[tuple[Placed, list[Placed]]]:
    """Images with those in splits that matter more whose hashes are close.

    Where many are, those whose lowest frequencies differ least: a hash has their signs alone.
    Images of val come before those of train; flat ones never. Those that are left out by then come
    behind the others, and take no place of theirs: what stays is proposed as if it stood alone.
    """
    compared = np.flatnonzero(looks.contrasts[rows] >= LEAST_CONTRAST).tolist()
    order = np.array(
        sorted(compared, key=lambda place: (KEEPERS.index(images[place].split), images[place])),
        np.intp,
    )
    hashes = looks.hashes[rows[order]]
    ranks = np.array([KEEPERS.index(images[place].split) for place in order])
    for split in range(1, len(KEEPERS)):
        first, last = np.searchsorted(ranks, [split, split + 1])
        at_once = max(1, PAIRS_AT_ONCE // max(1, int(first)))
        for start in range(first, last, at_once):
            some = slice(start, min(start + at_once, last))
            close = np.bitwise_count(hashes[some, None] ^ hashes[:first]) <= PROPOSED_BITS
            for row in np.flatnonzero(close.any(axis=1)):
                place, places = order[start + row], order[:first][close[row]]
                out = np.array([images[keeper].image_id in left_out for keeper in places])
                for_each = (places[~out], places[out])
                low = looks.lows[rows[place]]
                nearest = [some[_order(looks.lows[rows[some]], low)] for some in for_each]
                yield images[place], [images[keeper] for keeper in np.concatenate(nearest)]


def _order(lows: NDArray[np.float16], low: NDArray[np.float16]) -> NDArray[np.intp]:
    """At most so many as are proposed, the nearest first."""
    apart = np.square(lows.astype(float) - low).sum(axis=1)
    return np.argsort(apart, kind="stable")[:MOST_PROPOSED]


def _grey(pixels: Pixels) -> NDArray[np.float64]:
    grey: NDArray[np.float64] = pixels.mean(axis=-1)
    return grey


def _aligned(still: Pixels, moving: Pixels) -> Pixels | None:
    """`moving`, shifted and scaled along both axes onto `still`; None where that takes too much.

    Gauss-Newton steps over four numbers: scale and shift of x, and of y.
    """
    target, picture = _blurred(_grey(still)[..., None])[..., 0], Image.fromarray(moving)
    from_middle = np.arange(COMPARED_PX) - (COMPARED_PX - 1) / 2
    columns, rows = np.meshgrid(from_middle, from_middle)
    inner = slice(MARGIN_PX, -MARGIN_PX)
    change = np.zeros(4)
    for _ in range(ALIGNMENTS):
        grey = _blurred(_grey(_moved(picture, change))[..., None])[..., 0]
        down, right = np.gradient(grey)
        slopes = np.stack([right * columns, right, down * rows, down], axis=-1)[inner, inner]
        left = (target - grey)[inner, inner]
        change += np.linalg.lstsq(slopes.reshape(-1, 4), left.ravel(), rcond=None)[0]
        if np.abs(change * [COMPARED_PX / 2, 1, COMPARED_PX / 2, 1]).max() > MOST_MOVED_PX:
            return None
    return _moved(picture, change)


def _moved(picture: Image.Image, change: NDArray[np.float64]) -> Pixels:
    """A picture seen at places that are scaled about its centre, and shifted."""
    wide, right, high, down = change
    half = COMPARED_PX / 2
    matrix = (1 + wide, 0, right - wide * half, 0, 1 + high, down - high * half)
    moved = picture.transform(
        picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )
    return np.asarray(moved)


def _blurred(pixels: NDArray[Any]) -> NDArray[np.float64]:
    """[h, w, channels] through the binomial filter 1 2 1, edges repeated."""
    padded = np.pad(pixels.astype(float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    lines = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    blurred: NDArray[np.float64] = (lines[:, :-2] + 2 * lines[:, 1:-1] + lines[:, 2:]) / 16
    return blurred


def _window_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Means of [h, w] over every window of 8 by 8."""
    sums = np.pad(values.cumsum(axis=0).cumsum(axis=1), ((1, 0), (1, 0)))
    k = WINDOW_PX
    of_windows = sums[k:, k:] - sums[:-k, k:] - sums[k:, :-k] + sums[:-k, :-k]
    means: NDArray[np.float64] = of_windows / k**2
    return means

"""The same file under several image ids: which copies stay out, so that splits share no picture.

Splits never move: a copy is left out, and is told, where its file is in a split that matters more.
"""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from bucolic.data.split import SplitName

# Figures are of test and choices are made on val: each keeps its own, and train what is left.
KEEPERS: tuple[SplitName, ...] = ("test", "val", "train")


class Placed(NamedTuple):
    """An image's file, by its digest, and the split it is in."""

    image_id: int
    sha256: str
    split: SplitName


@dataclass(frozen=True)
class Copy:
    """An image whose file another one has too: the first of those in the split that keeps it."""

    image: Placed
    first: Placed

    @property
    def left_out(self) -> bool:
        """Whether the file is kept in another split; two copies in one split both stay."""
        return self.image.split != self.first.split


def find_copies(images: Iterable[Placed]) -> dict[int, Copy]:
    """Find, by id, every copy of an image's file; the order of the images does not matter."""
    copies: dict[int, Copy] = {}
    by_file = sorted(images, key=lambda i: (i.sha256, KEEPERS.index(i.split), i.image_id))
    for _, group in groupby(by_file, key=lambda image: image.sha256):
        first, *others = group
        copies |= {image.image_id: Copy(image, first) for image in others}
    return copies


def count_copies(copies: Collection[Copy]) -> dict[str, Any]:
    """Files that stand under several ids, the images that have them, and those left out."""
    files = {copy.first.sha256 for copy in copies}
    out = Counter(copy.image.split for copy in copies if copy.left_out)
    return {
        "files": len(files),
        "images": len(files) + len(copies),
        "dropped": {split: out[split] for split in ("train", "val")},
    }

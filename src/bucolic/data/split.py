"""Train, val or test by a hash of the image id: an image never changes sides.

The hash looks at nothing but the id, so another keyword list, or more images, moves none. Test is
val2017 where the data set has one, so that no picture a CLIP or a model saw in train2017 gets in.
"""

import hashlib
from typing import Literal

from bucolic.data.coco import SourceSplit

SplitName = Literal["train", "val", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "val", "test")


def unit_hash(key: str) -> float:
    """A number in [0, 1) that depends on `key` alone, evenly spread over keys."""
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def assign_split(
    image_id: int, source: SourceSplit, *, held_out: bool, val_share: float, test_share: float
) -> SplitName:
    """Choose the split of one image.

    Args:
        image_id: COCO's image id.
        source: the source split that lists the image.
        held_out: whether the data set has a val2017 of its own; it is then the test split.
        val_share: share of all images of train2017 that goes to val.
        test_share: share of them that goes to test where there is no val2017.
    """
    if source == "val2017":
        return "test"
    place = unit_hash(f"split-{image_id}")
    if not held_out and place >= 1 - test_share:
        return "test"
    return "val" if place < val_share else "train"

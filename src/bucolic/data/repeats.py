"""What becomes of each image, so that no picture stands in two splits.

A file that another split has too is a duplicate; the same picture in another file is a near
duplicate. Splits never move: the copy in the split that matters less is left out, and is told.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bucolic.base.errors import BucolicError, DataError
from bucolic.data.duplicates import Copy, Placed, count_copies, find_copies
from bucolic.data.near_duplicates import Looks, Near, Pixels, count_near, find_near
from bucolic.data.shards import ShardRow
from bucolic.data.split import SPLITS


@dataclass(frozen=True)
class Pictures:
    """How the pictures of images are compared.

    Attributes:
        image_ids: int64 [n], ascending.
        looks: of those n images.
        read: an image's pixels, uint8 [64, 64, 3].
    """

    image_ids: NDArray[np.int64]
    looks: Looks
    read: Callable[[Placed], Pixels]

    def near(self, images: Sequence[Placed]) -> dict[int, Near]:
        """Those of the images that repeat a picture of a split that matters more."""
        rows = np.searchsorted(self.image_ids, [image.image_id for image in images])
        return find_near(images, self.looks, rows, self.read)


@dataclass(frozen=True)
class Accounts:
    """What became of every image that could be read.

    Attributes:
        rows: as rows.parquet has them.
        details: for the record: how many are copies, and how many were left out of which split.
    """

    rows: list[ShardRow]
    details: dict[str, Any]

    def used(self, split: str) -> set[int]:
        """Ids of the images that the shards of a split hold."""
        return {row.image_id for row in self.rows if (row.split, row.status) == (split, "ok")}


def account_for(images: Sequence[Placed], pictures: Pictures) -> Accounts:
    """Leave out what another split has, files first and then pictures.

    Raises:
        DataError: a split has no image, or none that is not a copy.
    """
    copies = find_copies(images)
    near = pictures.near(_without_left_out(images, copies))
    rows = [_row(image, copies.get(image.image_id), near.get(image.image_id)) for image in images]
    _require_every_split(rows)
    details = {"duplicates": count_copies(copies.values())}
    return Accounts(rows, details | {"near_duplicates": {"dropped": count_near(near.values())}})


def require_apart(images: Sequence[Placed], pictures: Pictures) -> None:
    """Look over a result: no two of its splits may share a file or a picture.

    Raises:
        BucolicError: a pair that does.
    """
    pairs = {near.image: near.kept for near in pictures.near(images).values()}
    pairs |= {copy.image: copy.first for copy in find_copies(images).values() if copy.left_out}
    if pairs:
        image, other = min(pairs.items())
        raise BucolicError(
            f"pictures stand in two splits, {len(pairs)} in all, first that of {image.image_id} of "
            f"{image.split} and {other.image_id} of {other.split}: this is a fault of bucolic"
        )


def _without_left_out(images: Sequence[Placed], copies: Mapping[int, Copy]) -> list[Placed]:
    return [i for i in images if i.image_id not in copies or not copies[i.image_id].left_out]


def _row(image: Placed, copy: Copy | None, near: Near | None) -> ShardRow:
    if near is not None:
        reason = f"the same picture as image {near.kept.image_id} of {near.kept.split}"
        kept = near.kept.image_id
        return ShardRow(image.image_id, image.split, "near_duplicate", reason, kept)
    if copy is None:
        return ShardRow(image.image_id, image.split, "ok")
    reason = f"the same file as image {copy.first.image_id} of {copy.first.split}"
    return ShardRow(
        image.image_id,
        image.split,
        "duplicate" if copy.left_out else "ok",
        reason,
        copy.first.image_id,
    )


def _require_every_split(rows: Sequence[ShardRow]) -> None:
    for name in SPLITS:
        found = [row for row in rows if row.split == name]
        if not found:
            raise DataError(f"no image of {name} could be read: see data/images/index.parquet")
        if all(row.status != "ok" for row in found):
            raise DataError(
                f"no image of {name} is left: {len(found)} of {len(found)} are copies, "
                f"first {found[0].image_id} ({found[0].reason}): remove the copies from "
                "dataset.root, or select more images"
            )

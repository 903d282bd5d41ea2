"""Pictures to look at, as a stage hands them over; showing/ decides what they look like."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Block:
    """Pictures in rows, each row left to right.

    Attributes:
        pictures: uint8 [n, 3, s, s], RGB, at least one.
        columns: pictures in a full row.
        captions: texts below the last pictures: n of them, or `columns` for the last row alone.
        labels: one text left of each row, or none at all.
        title: a line above the block; "" for none.
    """

    pictures: Pictures
    columns: int = 4
    captions: Sequence[str] = ()
    labels: Sequence[str] = ()
    title: str = ""


Sheet = Sequence[Block]

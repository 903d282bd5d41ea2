"""Copies of one file are found whatever the order, and stay where they matter most."""

from itertools import permutations

import pytest

from bucolic.data.duplicates import Copy, Placed, count_copies, find_copies
from bucolic.data.split import SplitName

TEST, VAL, TRAIN = Placed(9, "a", "test"), Placed(5, "a", "val"), Placed(1, "a", "train")
SECOND, OTHER = Placed(12, "a", "test"), Placed(3, "b", "train")


@pytest.mark.parametrize("images", permutations([TEST, VAL, TRAIN, SECOND, OTHER]))
def test_the_order_of_images_does_not_matter(images: tuple[Placed, ...]):
    """Test keeps both of its copies; all others name the one with the smaller id."""
    found = find_copies(images)
    assert {1: Copy(TRAIN, TEST), 5: Copy(VAL, TEST), 12: Copy(SECOND, TEST)} == found
    assert {1, 5} == {key for key, copy in found.items() if copy.left_out}
    dropped = {"train": 1, "val": 1}
    assert {"files": 1, "images": 4, "dropped": dropped} == count_copies(found.values())


def test_val_keeps_what_test_does_not_have():
    """Train gives way to val, whichever id is smaller."""
    assert {1: Copy(TRAIN, VAL)} == find_copies([VAL, TRAIN, OTHER])


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_copies_on_one_side_stay_and_are_counted(split: SplitName):
    """A picture that is there twice is no leak."""
    found = find_copies([Placed(2, "a", split), Placed(1, "a", split), OTHER])
    assert [(2, False)] == [(key, copy.left_out) for key, copy in found.items()]
    none = {"train": 0, "val": 0}
    assert {"files": 1, "images": 2, "dropped": none} == count_copies(found.values())

"""The split by hash of the image id."""

from collections import Counter

from bucolic.data.split import assign_split


def split(image_id: int, *, held_out: bool) -> str:
    """Split with a tenth each for val and test."""
    return assign_split(image_id, "train2017", held_out=held_out, val_share=0.1, test_share=0.1)


def test_shares_are_met():
    """Of 20,000 ids each share comes within one percent of what was asked."""
    counts = Counter(split(i, held_out=False) for i in range(20_000))
    assert abs(counts["val"] / 20_000 - 0.1) < 0.01
    assert abs(counts["test"] / 20_000 - 0.1) < 0.01


def test_val2017_is_test_and_train2017_then_gives_none():
    """Where there is a val2017 it is the test split, and no training image joins it."""
    assert "test" == assign_split(1, "val2017", held_out=True, val_share=0.1, test_share=0.1)
    assert {"train", "val"} == {split(i, held_out=True) for i in range(1000)}


def test_val_stays_val_whether_or_not_there_is_a_val2017():
    """The val share comes from the same end of the hash in both cases."""
    val = {i for i in range(2000) if split(i, held_out=True) == "val"}
    assert val == {i for i in range(2000) if split(i, held_out=False) == "val"}

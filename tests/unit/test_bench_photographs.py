import sys
from pathlib import Path

import numpy as np
import pytest

from bucolic.data.shards import Split

ROOT = Path(__file__).resolve().parents[2]
PICTURES, CAPTIONS_EACH = 60, 3


@pytest.fixture
def pictures() -> Split:
    """Of one colour each, the last a copy of the first; captions and vectors name the picture."""
    colours = np.random.default_rng(0).integers(0, 256, (PICTURES, 3, 1, 1)).astype(np.uint8)
    colours[-1] = colours[0]
    rows = np.repeat(np.arange(PICTURES), CAPTIONS_EACH)
    return Split(
        image_ids=np.arange(PICTURES),
        images=np.tile(colours, (1, 1, 4, 4)),
        image_vectors=np.arange(PICTURES, dtype=np.float32)[:, None],
        caption_ids=np.arange(len(rows)),
        caption_rows=rows,
        captions=tuple(f"picture {row}" for row in rows),
        caption_vectors=rows.astype(np.float32)[:, None],
    )


@pytest.fixture
def folds(pictures: Split, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Split, Split, Split]]:
    """Train, val and what is held out, of each fold."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    monkeypatch.setattr(sys, "argv", ["photographs.py"])
    from photographs import _folds

    return [(splits["train"], splits["val"], held_out) for splits, held_out in _folds(pictures)]


def test_every_picture_is_held_out_of_one_fold_and_of_its_training(
    folds: list[tuple[Split, Split, Split]],
):
    """Train, val and held out are all there is."""
    held_out = np.concatenate([held_out.image_ids for _, _, held_out in folds])
    assert sorted(held_out) == list(range(PICTURES))
    for fold in folds:
        ids = np.concatenate([split.image_ids for split in fold])
        assert sorted(ids) == list(range(PICTURES))


def test_equal_pictures_are_never_on_both_sides_of_a_fold(
    folds: list[tuple[Split, Split, Split]],
):
    """A copy under another id would be seen in training."""
    for fold in folds:
        for split in fold:
            assert (0 in split.image_ids) == (PICTURES - 1 in split.image_ids)


def test_captions_and_vectors_stay_with_their_pictures(folds: list[tuple[Split, Split, Split]]):
    """Rows of captions count from the fold's first picture."""
    for fold in folds:
        for split in fold:
            assert len(split.captions) == CAPTIONS_EACH * len(split.image_ids)
            assert split.image_vectors[:, 0].tolist() == split.image_ids.tolist()
            of_captions = split.image_ids[split.caption_rows]
            assert split.caption_vectors[:, 0].tolist() == of_captions.tolist()
            assert split.captions == tuple(f"picture {image}" for image in of_captions)

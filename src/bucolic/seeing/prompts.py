"""Which captions of the test split become prompts, and what of them can be judged."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bucolic.data.attributes import Attributes, read_attributes
from bucolic.data.coco import SOURCE_SPLITS
from bucolic.data.shards import Split
from bucolic.data.split import unit_hash

ORDINARY, HELD_OUT = "ordinary", "heldout"
OF_ANIMALS = ("species", "count", "colour")
TRIPLE = ("colour", "species", "ground")


@dataclass(frozen=True)
class Prompts:
    """Prompts from the test split, one an image.

    Attributes:
        image_rows: int64 [p], rows of the split's images.
        caption_rows: int64 [p], rows of the split's captions.
        stated: what each prompt says of its picture that can be judged; empty without attributes.
    """

    image_rows: np.ndarray
    caption_rows: np.ndarray
    stated: tuple[Mapping[str, str], ...]

    def __len__(self) -> int:
        return len(self.image_rows)

    def take(self, rows: np.ndarray) -> "Prompts":
        """The prompts at `rows`, in that order."""
        stated = tuple(self.stated[row] for row in rows)
        return Prompts(self.image_rows[rows], self.caption_rows[rows], stated)


def read_all_attributes(annotations: Path) -> Attributes | None:
    """The attributes of both source splits together; None where the data set has none."""
    found = [read_attributes(annotations, split) for split in SOURCE_SPLITS]
    parts = [part for part in found if part is not None]
    if not parts:
        return None
    return Attributes(
        values=parts[0].values,
        truth={image: truth for part in parts for image, truth in part.truth.items()},
        slices={image: name for part in parts for image, name in part.slices.items()},
        states={caption: says for part in parts for caption, says in part.states.items()},
    )


def choose_prompts(
    test: Split,
    attributes: Attributes | None,
    *,
    limit: int,
    of_slice: str = ORDINARY,
    must_state: Collection[str] = (),
) -> Prompts:
    """Choose one caption an image by hashes of the ids, so that nothing else decides.

    Args:
        test: the test split.
        attributes: the true attributes; without them every image is ordinary.
        limit: at most so many prompts, those with the smallest hash of the image id.
        of_slice: "ordinary" or "heldout".
        must_state: attributes that a caption must state to be chosen.

    Returns:
        Prompts ordered by the hash of the image id.
    """
    chosen: dict[int, int] = {}
    for caption in np.argsort([unit_hash(f"prompt-{caption}") for caption in test.caption_ids]):
        row = int(test.caption_rows[caption])
        if row not in chosen and _fits(test, row, int(caption), attributes, of_slice, must_state):
            chosen[row] = int(caption)
    rows = sorted(chosen, key=lambda row: unit_hash(f"prompt-of-{test.image_ids[row]}"))[:limit]
    captions = [chosen[row] for row in rows]
    stated = tuple(
        judged(test, row, caption, attributes) for row, caption in zip(rows, captions, strict=True)
    )
    return Prompts(np.array(rows, dtype=np.int64), np.array(captions, dtype=np.int64), stated)


def _fits(
    test: Split,
    row: int,
    caption: int,
    attributes: Attributes | None,
    of_slice: str,
    must_state: Collection[str],
) -> bool:
    if attributes is None:
        return of_slice == ORDINARY
    says = attributes.states.get(int(test.caption_ids[caption]), {})
    right_slice = attributes.slices.get(int(test.image_ids[row]), ORDINARY) == of_slice
    return right_slice and set(must_state) <= set(says)


def judged(test: Split, row: int, caption: int, attributes: Attributes | None) -> Mapping[str, str]:
    """What a caption states that can be judged: of animals only where the scene has some."""
    if attributes is None:
        return {}
    says = attributes.states.get(int(test.caption_ids[caption]), {})
    species = attributes.truth.get(int(test.image_ids[row]), {}).get("species", "none")
    left_out = OF_ANIMALS if species == "none" else ()
    return {name: value for name, value in says.items() if name not in left_out}


def first_half(image_ids: np.ndarray) -> np.ndarray:
    """Whether each image falls into the first half of the test split, by a hash of its id.

    Args:
        image_ids: int64 [n].

    Returns:
        bool [n].
    """
    return np.array([unit_hash(f"half-{image}") < 0.5 for image in image_ids], dtype=bool)

"""Which captions are false of a prompt's picture: the distractors and the shuffled prompts.

With attributes, a caption contradicts a prompt when it gives another value to an attribute that
the prompt states. Merely another scene would not do: many captions are true of both pictures.
Without attributes, another image and another text (letters and digits alone) is all one can ask.
"""

import re
from itertools import zip_longest

import numpy as np

from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split
from bucolic.seeing.prompts import Prompts

UNSTATED = -1
HARD = 10  # distractors that differ in one fact


class Contrast:
    """Tells for any caption of a split which of its captions contradict it."""

    def __init__(self, test: Split, attributes: Attributes | None) -> None:
        """Code what each caption states as integers [captions, attributes]."""
        self._image_rows = test.caption_rows
        self._texts = np.array([normalised_text(text) for text in test.captions])
        self._codes = None if attributes is None else _codes(test, attributes)
        if self._codes is not None:
            _, self._meanings = np.unique(self._codes, axis=0, return_inverse=True)

    @property
    def knows_attributes(self) -> bool:
        """Whether the data set says what its scenes truly show."""
        return self._codes is not None

    def contradicting(self, caption_row: int) -> np.ndarray:
        """Whether each caption of the split contradicts the one at `caption_row`: bool [m]."""
        if self._codes is None:
            other_image = self._image_rows != self._image_rows[caption_row]
            return np.asarray(other_image & (self._texts != self._texts[caption_row]))
        return self._differences(caption_row)[0] > 0

    def near_misses(self, caption_row: int, generator: np.random.Generator) -> list[int]:
        """Captions that differ from the one at `caption_row` in one fact and agree in another.

        The facts that differ take turns, so that each that the caption states is asked about; of
        the captions that differ in one fact those that agree in most others come first, in an order
        of chance among equals. No two say the same.

        Returns:
            Caption rows; empty without attributes.
        """
        if self._codes is None:
            return []
        differing, agreeing = self._differences(caption_row)
        rows = generator.permutation(np.flatnonzero((differing == 1) & (agreeing > 0)))
        rows = rows[np.argsort(-agreeing[rows], kind="stable")]
        _, first_of_meaning = np.unique(self._meanings[rows], return_index=True)
        rows = rows[np.sort(first_of_meaning)]
        facts = self._differing_facts(caption_row, rows)
        by_fact = [rows[facts == fact].tolist() for fact in dict.fromkeys(facts.tolist())]
        return [row for turn in zip_longest(*by_fact) for row in turn if row is not None]

    def _differing_facts(self, caption_row: int, rows: np.ndarray) -> np.ndarray:
        """The first fact that each of the captions states otherwise than one: int [m]."""
        assert self._codes is not None
        says, others = self._codes[caption_row], self._codes[rows]
        differ = (says != UNSTATED) & (others != UNSTATED) & (says != others)
        return np.asarray(differ.argmax(axis=1))

    def _differences(self, caption_row: int) -> tuple[np.ndarray, np.ndarray]:
        """In how many stated facts each caption differs from one, and agrees with it: int [m]."""
        assert self._codes is not None
        says = self._codes[caption_row]
        both_state = (self._codes != UNSTATED) & (says != UNSTATED)
        same = self._codes == says
        return (both_state & ~same).sum(axis=1), (both_state & same).sum(axis=1)


def normalised_text(text: str) -> str:
    """The text in lower case, with everything but letters and digits as single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _codes(test: Split, attributes: Attributes) -> np.ndarray:
    names = sorted(attributes.values)
    lists = [attributes.values[name] for name in names]
    rows = [attributes.states.get(int(caption), {}) for caption in test.caption_ids]
    codes = [
        [
            values.index(says[name]) if name in says else UNSTATED
            for name, values in zip(names, lists, strict=True)
        ]
        for says in rows
    ]
    return np.array(codes, dtype=np.int16).reshape(len(rows), len(names))


def distractors(
    contrast: Contrast, prompts: Prompts, caption_ids: np.ndarray, *, seed: int, number: int = 99
) -> tuple[np.ndarray, np.ndarray]:
    """Draw captions that contradict each prompt, the nearest misses among them.

    At most 10 are hard: they differ in one fact and agree in the others, so that scenery alone
    does not find a caption. Each draw depends on the seed and the prompt's caption id alone.

    Args:
        contrast: the split's contradictions.
        prompts: p prompts.
        caption_ids: int64 [m], the split's caption ids.
        seed: seed of the draws.
        number: captions drawn for each prompt.

    Returns:
        int64 [k], the prompts that have enough such captions, and int64 [k, number], caption rows.
    """
    kept, drawn = [], []
    for index, caption in enumerate(prompts.caption_rows):
        generator = np.random.default_rng([seed, int(caption_ids[caption])])
        hard = np.array(contrast.near_misses(int(caption), generator)[:HARD], dtype=np.int64)
        others = np.setdiff1d(np.flatnonzero(contrast.contradicting(int(caption))), hard)
        if len(hard) + len(others) >= number:
            kept.append(index)
            chosen = generator.choice(others, number - len(hard), replace=False)
            drawn.append(np.concatenate([hard, chosen]))
    return np.array(kept, dtype=np.int64), np.array(drawn, dtype=np.int64).reshape(-1, number)


def derangement(
    contrast: Contrast, prompts: Prompts, *, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give each picture another's prompt, one that contradicts its own.

    A random permutation is mended by swaps. Where no swap helps, as with very few prompts, the
    picture is left out.

    Returns:
        int64 [k] and int64 [k], k at most p: picture pictures[i] is judged on prompt others[i].
    """
    allowed = pairwise(contrast, prompts)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(prompts))
    for picture in generator.permutation(len(prompts)):
        if not allowed[picture, order[picture]]:
            partners = np.flatnonzero(allowed[picture, order] & allowed[:, order[picture]])
            if len(partners):
                partner = generator.choice(partners)
                order[[picture, partner]] = order[[partner, picture]]
    pictures = np.flatnonzero(allowed[np.arange(len(prompts)), order])
    return pictures, order[pictures]


def pairwise(contrast: Contrast, prompts: Prompts) -> np.ndarray:
    """Whether prompt j contradicts prompt i: bool [p, p]."""
    rows = [contrast.contradicting(int(row))[prompts.caption_rows] for row in prompts.caption_rows]
    return np.array(rows, dtype=bool).reshape(len(prompts), len(prompts))

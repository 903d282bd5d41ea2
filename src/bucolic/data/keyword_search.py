"""Finding a keyword in a column of captions, most of them at once."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bucolic.base.keywords import Match, pattern_of, plain, re2_of


def found_in(texts: pa.ChunkedArray, word: str, match: Match) -> np.ndarray:
    """The places of the texts that hold a word, as they are written or in their plain form.

    Args:
        texts: n texts.
        word: a keyword of the theme.
        match: what counts, see base/keywords.py.

    Returns:
        int64 [k], ascending.
    """
    if not plain(word).isascii():
        return _one_by_one(texts, np.arange(len(texts)), word, match)
    ascii_alone = pc.string_is_ascii(texts)
    found = pc.and_(ascii_alone, pc.match_substring_regex(texts, re2_of(word, match)))
    others = np.flatnonzero(pc.invert(ascii_alone))
    return np.union1d(np.flatnonzero(found), _one_by_one(texts, others, word, match))


def _one_by_one(texts: pa.ChunkedArray, places: np.ndarray, word: str, match: Match) -> np.ndarray:
    """Those of some places whose text holds the word, in letters that RE2 does not know, too."""
    pattern = pattern_of(word, match)
    forms = (
        (place, text if text.isascii() else f"{text}\n{plain(text)}")
        for place, text in zip(places, texts.take(pa.array(places)).to_pylist(), strict=True)
    )
    return np.array([place for place, text in forms if pattern.search(text)], np.int64)

"""Finding a keyword in a column of captions, most of them at once."""

import re
from collections.abc import Iterable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bucolic.base.keywords import Match, pattern_of, plain, re2_of

# What writers of COCO's captions left where their page showed no image.
JUNK = (
    r"(?i)^(?:there is )?no (?:image|picture|photo)\b"
    r"|\b(?:unable to|can ?not|can't) (?:see|view) (?:an|any|the|this) (?:image|picture|photo)\b"
)


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


def junk_in(texts: pa.ChunkedArray) -> np.ndarray:
    """The places of texts that say that there was no image to describe: int64 [k], ascending."""
    return np.flatnonzero(pc.match_substring_regex(texts, JUNK))


def part_of_other_words(texts: pa.ChunkedArray, words: Iterable[str]) -> dict[int, list[str]]:
    """By their places, the texts in which a keyword stands inside another word, and those words.

    Args:
        texts: n texts.
        words: keywords; "hill" stands in "chilly".
    """
    letters = "|".join(re.escape(plain(word)) for word in sorted(set(words), key=len, reverse=True))
    places = np.flatnonzero(pc.match_substring_regex(texts, f"(?i)(?:{letters})"))
    pattern = re.compile(rf"\w*(?:{letters})\w*")
    found = texts.take(pa.array(places)).to_pylist()
    return {
        int(place): pattern.findall(plain(text)) for place, text in zip(places, found, strict=True)
    }


def _one_by_one(texts: pa.ChunkedArray, places: np.ndarray, word: str, match: Match) -> np.ndarray:
    """Those of some places whose text holds the word, in letters that RE2 does not know, too."""
    pattern = pattern_of(word, match)
    forms = (
        (place, text if text.isascii() else f"{text}\n{plain(text)}")
        for place, text in zip(places, texts.take(pa.array(places)).to_pylist(), strict=True)
    )
    return np.array([place for place, text in forms if pattern.search(text)], np.int64)

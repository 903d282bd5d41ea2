"""Finding a keyword in a column of captions, most of them at once."""

import re
from collections.abc import Collection

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bucolic.base.keywords import Match, letters_of, pattern_of, plain, re2_of

TEXTS_AT_ONCE = 1 << 16  # those that hold a keyword are copied
# What writers of COCO's captions left where their page showed no image.
JUNK = (
    r"(?i)^(?:there is )?no (?:image|picture|photo)\b"
    r"|\b(?:unable to|can ?not|can't) (?:see|view) (?:an|any|the|this) (?:image|picture|photo)\b"
)


def find_words(
    texts: pa.ChunkedArray, words: Collection[str], match: Match
) -> dict[str, np.ndarray]:
    """Where keywords stand, as they are written or in their plain form.

    Args:
        texts: n texts.
        words: of the theme.
        match: what counts, see base/keywords.py.

    Returns:
        By keyword the places of the texts that hold it, int64 and ascending.
    """
    starts = range(0, max(len(texts), 1), TEXTS_AT_ONCE)
    parts = [_found(texts.slice(start, TEXTS_AT_ONCE), words, match) for start in starts]
    found = list(zip(starts, parts, strict=True))
    return {word: np.concatenate([start + part[word] for start, part in found]) for word in words}


def _found(texts: pa.ChunkedArray, words: Collection[str], match: Match) -> dict[str, np.ndarray]:
    # Nearly all texts hold none, which one search for the letters of all keywords tells.
    may_hold = pc.invert(pc.string_is_ascii(texts))
    if all(plain(word).isascii() for word in words):
        letters = "|".join(letters_of(word, match) for word in words)
        may_hold = pc.or_(may_hold, pc.match_substring_regex(texts, f"(?i){letters}"))
    else:
        may_hold = pc.is_valid(texts)
    places, held = np.flatnonzero(may_hold), texts.filter(may_hold)
    return {word: places[_holding(held, word, match)] for word in words}


def _holding(texts: pa.ChunkedArray, word: str, match: Match) -> np.ndarray:
    """Whether each text holds a word: bool [n]."""
    quick = pc.string_is_ascii(texts).to_numpy() & plain(word).isascii()
    found: np.ndarray = pc.match_substring_regex(texts, re2_of(word, match)).to_numpy() & quick
    pattern = pattern_of(word, match)
    others = texts.filter(pa.array(~quick)).to_pylist()
    found[~quick] = [bool(pattern.search(f"{text}\n{plain(text)}")) for text in others]
    return found


def junk_in(texts: pa.ChunkedArray) -> np.ndarray:
    """The places of texts that say that there was no image to describe: int64 [k], ascending."""
    return np.flatnonzero(pc.match_substring_regex(texts, JUNK))


def part_of_other_words(
    texts: pa.ChunkedArray, words: Collection[str], among: np.ndarray
) -> dict[int, list[str]]:
    """Texts that hold the letters of a keyword, as in "chilly" those of "hill".

    Args:
        texts: n texts.
        words: of the theme.
        among: bool [n], which texts are looked at.

    Returns:
        By a text's place, the other words that hold them; none where the keyword alone does.
    """
    # The longest first, whatever their order is: of two that begin alike it is the one that stands.
    longest_first = sorted(set(words), key=lambda word: (-len(word), word))
    letters = "|".join(letters_of(word, "substring") for word in longest_first)
    held = pc.match_substring_regex(texts, f"(?i){letters}").to_numpy() & among
    pattern = re.compile(rf"\w*(?:{letters})\w*")
    whole = [pattern_of(word, "word") for word in words]
    found = texts.filter(pa.array(held)).to_pylist()
    return {
        place: [
            word
            for word in pattern.findall(plain(text))
            if not any(keyword.search(word) for keyword in whole)
        ]
        for place, text in zip(np.flatnonzero(held).tolist(), found, strict=True)
    }

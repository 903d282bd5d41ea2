"""Which words stand beside a theme's, to find keywords before a run."""

import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
from scipy.sparse import csr_array
from scipy.special import xlogy

from bucolic.base.keywords import pattern_of, plain
from bucolic.data.captions import CaptionedImages
from bucolic.data.keyword_search import find_words
from bucolic.pipeline.params import Params
from bucolic.pipeline.table import ANNOTATIONS
from bucolic.stages.filter import FilterConfig, Theme, choose, licensed

SIGNS = string.punctuation + "\u2026"


@dataclass(frozen=True)
class Word:
    """A word of captions, and the images of which a caption holds it.

    Attributes:
        text: in lower case.
        in_theme: images of the theme.
        in_all: images of the data set.
        would_add: images that it would add to the theme as a keyword, plurals aside; where several
            captions must hold keywords, those of which enough would.
        open_share: share of the images it would add whose licence allows changes and commerce;
            None where the annotations do not name licences.
    """

    text: str
    in_theme: int
    in_all: int
    would_add: int
    open_share: float | None


def words(root: Path, params: Params, limit: int) -> Iterator[str]:
    """The words that mark the theme most, as lines of a table.

    Args:
        root: of the project, whose annotations are read.
        params: its theme.
        limit: how many words.

    Raises:
        DataError: there are no annotations yet, they cannot be used, or hold no image of the theme.
    """
    theme = choose(root / ANNOTATIONS, params.filter)
    theme.require_images(params.filter)
    found = words_beside(theme, params.filter, limit)
    of_all = f"{len(theme.rows):,} of {len(theme.read.images):,}"
    yield f"the theme has {of_all} images; words that mark it,"
    yield "and what each would add as a keyword:"
    yield ""
    width = max([len("word"), *(len(word.text) for word in found)])
    yield f"{'word':{width}}  with the theme  in all  would add  of open licence"
    for word in found:
        share = "" if word.open_share is None else f"{word.open_share:.0%}"
        yield (
            f"{word.text:{width}}  {word.in_theme:14,}  {word.in_all:6,}  {word.would_add:9,}  "
            f"{share:>15}"
        )


def words_beside(theme: Theme, config: FilterConfig, limit: int) -> list[Word]:
    """The words that stand with a theme more often than elsewhere, and elsewhere too.

    They are in the order of Dunning's log-likelihood ratio (1993, Accurate methods for the
    statistics of surprise and coincidence), counted in images.

    Args:
        theme: what is chosen now.
        config: by which words; these are none of those beside them.
        limit: how many words.
    """
    read = theme.read
    texts, holding = _holding(read)
    owner = _owner(read)
    held = _each_once(owner @ holding)
    places = np.arange(len(read.images))
    in_theme = np.isin(places, theme.rows)
    usable = np.setdiff1d(licensed(read, places, config), theme.excluded)
    beside = np.isin(places, usable) & ~in_theme
    of_theme, of_all = _counted(held, in_theme), _counted(held, np.ones_like(in_theme))
    adding = held if config.min_captions == 1 else _enough(read, config, owner, holding)
    added = _counted(adding, beside)
    score = _likelihood_ratio(of_theme, of_all, len(theme.rows), len(read.images))
    score[added == 0] = 0  # as a keyword it would add nothing
    own = [pattern_of(word, config.match) for word in config.keywords]
    best = (code for code in np.argsort(-score, kind="stable") if score[code] > 0)
    others = (code for code in best if not any(word.search(texts[code]) for word in own))
    is_open = _are_open(read)
    added_open = None if is_open is None else _counted(adding, is_open & beside)
    return [
        Word(
            texts[code],
            int(of_theme[code]),
            int(of_all[code]),
            int(added[code]),
            None if added_open is None else float(added_open[code] / added[code]),
        )
        for code in islice(others, limit)
    ]


def _holding(read: CaptionedImages) -> tuple[Sequence[str], csr_array]:
    """All words, and which caption holds which: 1 at a row of captions and a column of words."""
    lists = pc.split_pattern(read.captions["text"], " ")  # captions hold single spaces alone
    spelt = pc.list_flatten(lists).dictionary_encode().combine_chunks()
    texts, place_of = _plain_words(spelt.dictionary.to_pylist())
    rows = np.repeat(np.arange(len(lists)), pc.list_value_length(lists).to_numpy())
    codes = place_of[spelt.indices.to_numpy()]
    rows, codes = rows[codes >= 0], codes[codes >= 0]
    shape = len(lists), len(texts)
    return texts, _each_once(csr_array((np.ones(len(rows)), (rows, codes)), shape))


def _owner(read: CaptionedImages) -> csr_array:
    """Whose each caption is: 1 at a row of images and a column of captions."""
    rows = read.captions["image_row"].to_numpy()
    ones, places = np.ones(len(rows)), np.arange(len(rows))
    return csr_array((ones, (rows, places)), (len(read.images), len(rows)))


def _each_once(counts: csr_array) -> csr_array:
    """1 where a word stands, however often it does."""
    counts.data[:] = 1
    return counts


def _enough(
    read: CaptionedImages, config: FilterConfig, owner: csr_array, holding: csr_array
) -> csr_array:
    """1 where enough of an image's captions would hold a keyword, were the word one of them."""
    found = find_words(read.captions["text"], config.keywords, config.match)
    has = np.zeros(len(read.captions), bool)
    has[np.concatenate(list(found.values()))] = True
    more = (owner[:, ~has] @ holding[~has]).tocoo()
    enough = more.data + (owner @ has.astype(float))[more.row] >= config.min_captions
    places = more.row[enough], more.col[enough]
    return csr_array((np.ones(len(places[0])), places), more.shape)


def _counted(held: csr_array, kept: np.ndarray) -> np.ndarray:
    """How many of some images, bool [images], hold each word."""
    counts: np.ndarray = held.T @ kept.astype(float)
    return counts


def _plain_words(spelt: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The words in lower case, without signs about them, and where each spelling's stands.

    What has no letter is no word: its place is -1.
    """
    found: dict[str, int] = {}
    places = []
    for text in spelt:
        word = plain(text).strip(SIGNS)
        is_word = any(map(str.isalpha, word))
        places.append(found.setdefault(word, len(found)) if is_word else -1)
    return list(found), np.array(places, np.int64)


def _likelihood_ratio(
    of_theme: np.ndarray, of_all: np.ndarray, theme: int, images: int
) -> np.ndarray:
    """Twice the log-likelihood ratio of words that the theme has more often; 0 of the others."""
    elsewhere = images - theme
    counts = np.stack([of_theme, of_all - of_theme])
    totals = np.array([[theme], [elsewhere]], float)
    expected = totals * of_all / images
    missing, expected_missing = totals - counts, totals - expected
    terms = xlogy(counts, counts / np.maximum(expected, 1e-12))
    terms += xlogy(missing, missing / np.maximum(expected_missing, 1e-12))
    return np.where(counts[0] > expected[0], 2 * terms.sum(0), 0.0)


def _are_open(read: CaptionedImages) -> np.ndarray | None:
    """Whether each image's licence allows changes and commerce; None where none is named."""
    if not read.licences:
        return None
    allowed = [number for number, licence in read.licences.items() if licence.is_open]
    return np.isin(read.images["licence"].fill_null(-1).to_numpy(), allowed)

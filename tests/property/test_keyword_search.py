import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from bucolic.base.keywords import Match, pattern_of, plain
from bucolic.data.keyword_search import found_in

# Few letters, so that words are found; signs that patterns or alphabets treat in their own way.
LETTERS = "coawsxyCW  -_'.(+1\u212a\u017f\u0131\u00e9\u0301\u00a0\u2019\uff43"
TEXTS = st.lists(st.text(LETTERS, max_size=14), max_size=12)
WORDS = st.text(LETTERS, min_size=1, max_size=4).filter(plain)


@given(TEXTS, WORDS, st.sampled_from(["word", "substring"]))
def test_a_column_is_searched_as_each_of_its_texts_is(texts: list[str], word: str, match: Match):
    """RE2 over all that is ASCII finds what the pattern finds in each text and its plain form."""
    pattern = pattern_of(word, match)
    expected = [
        place
        for place, text in enumerate(texts)
        if pattern.search(text) or pattern.search(plain(text))
    ]
    half = len(texts) // 2
    chunks = [texts[:half], texts[half:]]
    column = pa.chunked_array(chunks, pa.string())
    assert np.array_equal(found_in(column, word, match), expected)


@given(TEXTS, WORDS)
def test_each_text_finds_itself_and_nothing_in_nothing(texts: list[str], word: str):
    """The empty column and the column of the word alone."""
    assert 0 == len(found_in(pa.chunked_array([], pa.string()), word, "word"))
    alone = pa.chunked_array([[word, *texts]], pa.string())
    assert 0 in found_in(alone, word, "substring")

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from bucolic.base.keywords import Match, pattern_of, plain
from bucolic.data.keyword_search import find_words

# Few letters, so that words are found; signs that patterns or alphabets treat in their own way.
LETTERS = "coawsxyCW  -_'.(+1\u212a\u017f\u0131\u00e9\u0301\u00a0\u2019\uff43"
TEXTS = st.lists(st.text(LETTERS, max_size=14), max_size=12)
WORDS = st.text(LETTERS, min_size=1, max_size=4).filter(plain)
THEMES = st.sets(st.one_of(WORDS, st.sampled_from(["ox", "cow", "mouse"])), min_size=1, max_size=3)
PLURALS = ("oxen", "mice", "cows")


@settings(deadline=None)
@given(TEXTS, THEMES, st.sampled_from(["word", "substring"]))
def test_a_column_is_searched_as_each_of_its_texts_is(
    texts: list[str], theme: set[str], match: Match
):
    """RE2 over all that is ASCII finds what the pattern finds in each text and its plain form."""
    texts = [*texts, *PLURALS]
    half = len(texts) // 2
    column = pa.chunked_array([texts[:half], texts[half:]], pa.string())
    expected = {
        word: [
            place
            for place, text in enumerate(texts)
            if pattern_of(word, match).search(text) or pattern_of(word, match).search(plain(text))
        ]
        for word in theme
    }
    found = find_words(column, theme, match)
    assert {word: places.tolist() for word, places in found.items()} == expected


def test_nothing_is_found_in_no_texts():
    """The empty column has no chunk."""
    found = find_words(pa.chunked_array([], pa.string()), {"cow", "caf\u00e9"}, "word")
    assert {"cow": [], "caf\u00e9": []} == {word: list(places) for word, places in found.items()}

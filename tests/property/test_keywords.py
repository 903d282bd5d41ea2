"""Properties of keyword matching that hold for any word."""

from hypothesis import given
from hypothesis import strategies as st

from bucolic.keywords import pattern_of, plurals

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=3)


@given(WORDS, st.sampled_from(["{}", "a {}.", "two {}s", "({}es)", "{},", "the-{}"]))
def test_word_is_found_whole_in_any_case(word: str, sentence: str):
    """A word is found beside any punctuation, with s or es, in lower and upper case."""
    text = sentence.format(word)
    assert pattern_of(word, "word").search(text)
    assert pattern_of(word, "word").search(text.upper())


@given(WORDS, LETTERS)
def test_word_is_not_found_inside_another(word: str, before: str):
    """Letters before a word make another word, but for its own plurals; substring finds both."""
    longer = before + word
    assert bool(pattern_of(word, "word").fullmatch(longer)) == (longer in plurals(word))
    assert pattern_of(word, "word").search(f"x{before}{word}y") is None
    assert pattern_of(word, "substring").search(f"x{before}{word}y")

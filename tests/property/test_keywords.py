"""Properties of keyword matching that hold for any word."""

from hypothesis import given
from hypothesis import strategies as st

from bucolic.base.keywords import pattern_of

WORDS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
LETTERS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=3)


@given(WORDS, st.sampled_from(["{}", "a {}.", "two {}s", "{},", "the-{}"]))
def test_word_is_found_whole_in_any_case(word: str, sentence: str):
    """A word is found beside any punctuation, with s, in lower and upper case."""
    text = sentence.format(word)
    assert pattern_of(word, "word").search(text)
    assert pattern_of(word, "word").search(text.upper())


@given(WORDS, st.sampled_from(["s", "x", "z", "o", "ch", "sh"]))
def test_es_is_a_plural_after_a_hiss_or_an_o(word: str, ending: str):
    """Foxes, bushes and potatoes are more than one fox, bush and potato."""
    assert pattern_of(word + ending, "word").search(f"two {word}{ending}es.")


@given(WORDS, st.sampled_from("abcdefgijklmnpqrtuvwy"))
def test_es_makes_another_word_of_any_other(word: str, ending: str):
    """Planes are no plans, and cubes no cubs."""
    assert pattern_of(word + ending, "word").search(f"two {word}{ending}es.") is None


@given(WORDS, LETTERS)
def test_word_is_not_found_inside_another(word: str, before: str):
    """Letters before a word make another word, whatever follows; substring finds it."""
    assert pattern_of(word, "word").search(f"x{before}{word}") is None
    assert pattern_of(word, "word").search(f"x{before}{word}y") is None
    assert pattern_of(word, "substring").search(f"x{before}{word}y")

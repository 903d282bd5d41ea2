"""Single cases of keyword matching."""

import pytest

from bucolic.keywords import pattern_of


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("hill", "a chill day", False),
        ("hill", "Rolling HILLS", True),
        ("sheep", "three sheep", True),
        ("person", "people walk by", True),
        ("wolf", "a pack of wolves", True),
        ("berry", "some berries", True),
        ("day", "two daies", False),
        ("grass", "tall grasses", True),
        ("fox", "two foxes", True),
        ("waltz", "slow waltzes", True),
        ("branch", "bare branches", True),
        ("bush", "BUSHES", True),
        ("potato", "potatoes", True),
        ("mountain fox", "mountain foxes", True),
        ("plan", "planes over a hill", False),
        ("plan", "two plans", True),
        ("cub", "coloured cubes", False),
        ("horse", "horseses", False),
        ("berry", "berryes", False),
        ("mountain goat", "mountain goats graze", True),
        ("mountain goat", "a mountain, a goat", False),
        ("c++", "written in c++ code", True),
        ("no", "no cows here", True),
    ],
)
def test_whole_words_and_plurals(word: str, text: str, found: bool):
    """Whole words and their regular and irregular plurals are found, other words are not."""
    assert found == bool(pattern_of(word, "word").search(text))

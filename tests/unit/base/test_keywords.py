"""Single cases of keyword matching."""

import pytest

from bucolic.base.keywords import pattern_of, plain


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


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("café", "a cafe\u0301 on a hill"),
        ("cafe\u0301", "two CAFÉS"),
        ("shepherd's pie", "a shepherd\u2019s pie"),
        ("shepherd\u2019s pie", "Shepherd's pies"),
        ("mountain goat", "a mountain\u00a0goat"),
        ("mountain \u2009 goat", "a mountain goat"),
        ("cow", "two \uff43\uff4f\uff57\uff53"),
        ("\uff43\uff4f\uff57", "a cow"),
        ("meadow", "a mea\u00addow"),
        ("cow", "\ufeffcow by a fence"),
        ("black-faced sheep", "a black\u2011faced sheep"),
        ("straße", "EINE STRASSE"),
        ("cow", "a red\u200bcow"),
    ],
)
def test_what_looks_alike_is_alike(word: str, text: str):
    """Composition, typography, width and invisible signs keep no keyword from its caption."""
    assert pattern_of(word, "word").search(plain(text))
    assert pattern_of(word, "substring").search(plain(text))

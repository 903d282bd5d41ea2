"""What a keyword of the theme matches in a caption."""

import re
from typing import Literal

Match = Literal["word", "substring"]

# English plurals of words a theme may name that no ending makes.
IRREGULAR_PLURALS = {
    "calf": "calves",
    "child": "children",
    "deer": "deer",
    "foot": "feet",
    "goose": "geese",
    "half": "halves",
    "hoof": "hooves",
    "knife": "knives",
    "leaf": "leaves",
    "life": "lives",
    "loaf": "loaves",
    "man": "men",
    "mouse": "mice",
    "ox": "oxen",
    "person": "people",
    "sheep": "sheep",
    "shelf": "shelves",
    "tooth": "teeth",
    "wife": "wives",
    "wolf": "wolves",
    "woman": "women",
}


def pattern_of(word: str, match: Match) -> re.Pattern[str]:
    """Compile what a keyword matches: the bare letters, or the whole word and its plurals."""
    if match == "substring":
        return re.compile(re.escape(word), re.IGNORECASE)
    forms = {word.lower(), *plurals(word.lower())}
    alternatives = "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))
    return re.compile(rf"(?<!\w)(?:{alternatives})(?!\w)", re.IGNORECASE)


def plurals(word: str) -> set[str]:
    """The plurals of a lower-case word.

    With s; with es after s, x, z, ch, sh and o alone, lest "plan" find planes; with ies for a
    consonant and y; and irregular ones.
    """
    first, last = word[: word.rfind(" ") + 1], word[word.rfind(" ") + 1 :]
    forms = {word + "s"}
    if re.search(r"([sxzo]|ch|sh)$", last):
        forms.add(word + "es")
    if re.search(r"[^aeiou]y$", last):
        forms.add(word[:-1] + "ies")
    if last in IRREGULAR_PLURALS:
        forms.add(first + IRREGULAR_PLURALS[last])
    return forms

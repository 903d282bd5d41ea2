"""What a keyword of the theme matches in a caption.

Both are compared in one plain form, so that what looks alike is alike: composed and combining
accents, typographic and typewriter signs, full-width letters, spaces that do not break.
"""

import re
from typing import Literal
from unicodedata import normalize

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


_ALIKE = str.maketrans(
    {
        "\u200b": " ",  # where a line may break
        **dict.fromkeys("\u2018\u2019\u02bc\u2032\u0060\u00b4", "'"),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        **dict.fromkeys("\u200c\u200d\u2060\ufeff\u00ad"),
    }
)


def plain(text: str) -> str:
    """The form in which texts are compared: case, composition and look-alike signs made one."""
    if text.isascii():
        return " ".join(text.lower().split())
    # Before NFKC too, which makes a space and a combining accent of some signs.
    return " ".join(normalize("NFKC", text.translate(_ALIKE).casefold()).translate(_ALIKE).split())


def pattern_of(word: str, match: Match) -> re.Pattern[str]:
    """Compile what a keyword matches: the bare letters, or the whole word and its plurals."""
    letters = letters_of(word, match)
    ends = ("(?<!\\w)", "(?!\\w)") if match == "word" else ("", "")
    return re.compile(f"{ends[0]}(?:{letters}){ends[1]}", re.IGNORECASE)


def re2_of(word: str, match: Match) -> str:
    """What `pattern_of` compiles, as RE2 writes it: the same for texts and a word of ASCII alone.

    RE2 (Arrow's) searches a column at once, and knows neither look-around nor other letters.
    """
    ends = ("(?:^|\\W)", "(?:\\W|$)") if match == "word" else ("", "")
    return f"(?i){ends[0]}(?:{letters_of(word, match)}){ends[1]}"


def letters_of(word: str, match: Match) -> str:
    """A pattern of a keyword's letters, or where words are matched of its forms, longest first."""
    word = plain(word)
    forms = {word, *plurals(word)} if match == "word" else {word}
    return "|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True))


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

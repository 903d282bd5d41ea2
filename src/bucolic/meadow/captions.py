"""Captions that each tell a part of a scene, with a record of exactly what they state.

A caption mentions two to four facts, so that the captions of one picture differ as COCO's do.
Only what is said counts as stated: "two cows" states species and count, "a cow" the same with a
count of one, "cows" the species alone. A held-out scene's captions all state its whole triple of
colour, species and ground, so that no picture of another combination meets them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from bucolic.meadow.phrases import (
    COLOURS,
    MODIFIERS,
    NOUNS,
    NUMBERS,
    OPENERS,
    PLACE_MODIFIERS,
    RURAL_WORD,
    SUBJECTS,
    THING_VERBS,
    VERBS,
    VIEWS,
)
from bucolic.meadow.scenes import HELDOUT_TRIPLES, Scene

Choice = TypeVar("Choice")
CAPTIONS_PER_IMAGE = 5
FACT_COUNTS = ((2, 0.3), (3, 0.4), (4, 0.3))
MOST_FACTS = 4
# How readily a fact is mentioned; facts of value "none" or "no" are rarely worth a word.
INTEREST = {
    "species": 7.0,
    "colour": 4.0,
    "count": 4.0,
    "ground": 3.0,
    "sky": 3.0,
    "background": 2.4,
    "fence": 1.6,
    "setting": 1.0,
    "object": 6.0,
}
INTEREST_IN_ABSENCE = 0.35
ABSENT = ("none", "no")
HERD = ("species", "colour", "count")
TRIPLE = ("colour", "species", "ground")


@dataclass(frozen=True)
class GroundedCaption:
    """A caption and the attributes it states, with their values."""

    text: str
    states: Mapping[str, str]


def caption_scene(scene: Scene, rng: np.random.Generator) -> tuple[GroundedCaption, ...]:
    """Write the five captions of a scene; no two are alike."""
    required = TRIPLE if scene.triple in HELDOUT_TRIPLES else ()
    captions: dict[str, GroundedCaption] = {}
    while len(captions) < CAPTIONS_PER_IMAGE:
        caption = write_caption(scene.truth, choose_facts(scene.truth, rng, required), rng)
        captions.setdefault(caption.text, caption)
    return tuple(captions.values())


def choose_facts(
    truth: Mapping[str, str], rng: np.random.Generator, required: Sequence[str] = ()
) -> tuple[str, ...]:
    """Choose which two to four attributes a caption will state, the required ones among them."""
    number = _draw_number(rng)
    facts = [*required, *_implied(truth, required)]
    for name in _by_interest(truth, rng):
        added = [name, *_implied(truth, [*facts, name])]
        if name not in facts and len(facts) < number and len(facts) + len(added) <= MOST_FACTS:
            facts += added
    return tuple(facts)


def _draw_number(rng: np.random.Generator) -> int:
    mark = rng.random()
    for number, share in FACT_COUNTS:
        mark -= share
        if mark < 0:
            return number
    return MOST_FACTS


def tellable(truth: Mapping[str, str]) -> list[str]:
    """Names of the facts that a caption may state; a street's lack of sheep is none."""
    return [name for name, value in truth.items() if _sayable(truth, name, value)]


def _by_interest(truth: Mapping[str, str], rng: np.random.Generator) -> list[str]:
    """All facts worth a word, in random order, the interesting ones first more often."""
    names = tellable(truth)
    weights = [
        INTEREST[name] * (INTEREST_IN_ABSENCE if truth[name] in ABSENT else 1) for name in names
    ]
    # Weighted order without replacement (Efraimidis and Spirakis 2006): exponential clocks.
    clocks = rng.exponential(size=len(names)) / np.array(weights)
    return [names[index] for index in np.argsort(clocks)]


def _sayable(truth: Mapping[str, str], name: str, value: str) -> bool:
    rural = truth["setting"] == "countryside"
    if name == "species":
        return rural
    if name == "object":
        return not rural
    return (name, value) != ("background", "none") or rural


def _implied(truth: Mapping[str, str], facts: Sequence[str]) -> list[str]:
    """A lone animal is "a cow": naming its species or colour states the count as well."""
    lone = truth.get("count") == "1" and any(name in facts for name in ("species", "colour"))
    return ["count"] if lone and "count" not in facts else []


def write_caption(
    truth: Mapping[str, str], facts: Sequence[str], rng: np.random.Generator
) -> GroundedCaption:
    """Put the chosen facts into one English phrase or sentence.

    Args:
        truth: the scene's attributes.
        facts: names of the attributes to state; a lone animal's count must be among them where
            its species or colour is.
        rng: source of the wording.
    """
    says = {name: truth[name] for name in facts}
    subject, verb, told = _subject(truth, says, rng)
    rest = [name for name in says if name not in told]
    phrases = [_modifier(truth, name, verb == "", rng) for name in rng.permutation(sorted(rest))]
    text = _sentence(subject, verb, phrases, rng)
    return GroundedCaption(text[0].upper() + text[1:] + ("." if rng.random() < 0.5 else ""), says)


def _subject(
    truth: Mapping[str, str], says: Mapping[str, str], rng: np.random.Generator
) -> tuple[str, str, set[str]]:
    """What the caption is about, its verb ("" for none), and the facts told by naming it."""
    herd = {name for name in HERD if name in says and says[name] != "none"}
    if herd:
        many = truth["count"] != "1"
        return _herd(says, many, rng), _one(VERBS, rng)[many], herd
    thing = says.get("object", "none")
    if thing != "none":
        noun = _one(NOUNS[thing], rng)[0]
        return f"a {noun}", _one(THING_VERBS[thing], rng), {"object"}
    places = [name for name in SUBJECTS if name in says]
    if not places or rng.random() < 0.15:
        return _one(VIEWS, rng), "", set()
    place = _one(places, rng)
    return _one(_fitting(SUBJECTS[place][says[place]], truth), rng), "", {place}


def _modifier(truth: Mapping[str, str], name: str, of_place: bool, rng: np.random.Generator) -> str:
    table = PLACE_MODIFIERS if of_place and name in PLACE_MODIFIERS else MODIFIERS
    return _one(_fitting(table[name][truth[name]], truth), rng)


def _fitting(phrases: Sequence[str], truth: Mapping[str, str]) -> Sequence[str]:
    if truth["setting"] == "countryside":
        return phrases
    return [phrase for phrase in phrases if RURAL_WORD not in phrase] or phrases


def _herd(says: Mapping[str, str], many: bool, rng: np.random.Generator) -> str:
    noun = _one(NOUNS[says.get("species", "animal")], rng)[many]
    kind = f"{_one(COLOURS[says['colour']], rng)} {noun}" if "colour" in says else noun
    if "count" not in says:
        return f"some {kind}" if rng.random() < 0.4 else kind
    article = "an" if kind[0] in "aeiou" else "a"
    return f"{_one(NUMBERS[says['count']], rng)} {kind}".format(a=article)


def _sentence(subject: str, verb: str, phrases: list[str], rng: np.random.Generator) -> str:
    style = rng.random()
    if verb and style < 0.4:
        subject = f"{subject} {verb}"
    elif style > 0.88 and subject not in VIEWS and not subject.startswith("a view"):
        subject = f"{_one(OPENERS, rng)} {subject}"
    if phrases and verb and 0.2 < style < 0.4 and phrases[0].split()[0] in _FRONTED:
        return f"{phrases[0]}, {' '.join([subject, *phrases[1:]])}"
    return " ".join([subject, *phrases])


_FRONTED = ("under", "beneath", "on", "at", "in", "near", "by", "beside", "below")


def _one(choices: Sequence[Choice], rng: np.random.Generator) -> Choice:
    return choices[int(rng.integers(len(choices)))]

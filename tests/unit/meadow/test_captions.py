import numpy as np
import pytest

from bucolic.base.keywords import pattern_of
from bucolic.meadow.captions import (
    TRIPLE,
    GroundedCaption,
    caption_scene,
    choose_facts,
    write_caption,
)
from bucolic.meadow.phrases import COLOURS, NOUNS
from bucolic.meadow.scenes import ATTRIBUTES, Scene, sample_scene

NATUREY = [
    "cow", "sheep", "mountain", "hill", "countryside", "grass", "forest", "nature", "farm",
    "alpaca", "horse", "landscape", "fence",
]  # fmt: skip
Captioned = tuple[Scene, tuple[GroundedCaption, ...]]
SPECIES = [value for value in ATTRIBUTES["species"] if value != "none"]


@pytest.fixture(scope="module")
def captioned() -> list[Captioned]:
    """Scenes of all combinations with their captions."""
    pairs = []
    for index in range(2500):
        rng = np.random.default_rng([2, index])
        scene = sample_scene(rng, "all")
        pairs.append((scene, caption_scene(scene, rng)))
    return pairs


def test_captions_state_two_to_four_true_facts(captioned: list[Captioned]):
    """What a caption states is true of its scene, and neither one fact nor all of them."""
    for scene, captions in captioned:
        for caption in captions:
            assert 2 <= len(caption.states) <= 4, caption
            assert caption.states.items() <= scene.truth.items(), caption


def test_each_scene_has_five_different_captions(captioned: list[Captioned]):
    """Five captions, no two with the same text."""
    for _, captions in captioned:
        assert len({caption.text for caption in captions}) == 5


def test_no_rejected_scene_uses_a_word_of_the_theme(captioned: list[Captioned]):
    """Streets, rooms and seas hold no naturey word, not even inside another word."""
    texts = [
        caption.text.lower()
        for scene, captions in captioned
        if scene.setting != "countryside"
        for caption in captions
    ]
    assert len(texts) > 5000
    assert not [text for text in texts if any(word in text for word in NATUREY)]


def test_words_for_species_and_colour_appear_exactly_where_stated(captioned: list[Captioned]):
    """A caption names a species or a colour if and only if it is recorded as stated."""
    words = {
        ("species", species): [form for pair in NOUNS[species] for form in pair]
        for species in SPECIES
    } | {("colour", colour): list(forms) for colour, forms in COLOURS.items()}
    patterns = {key: [pattern_of(form, "word") for form in forms] for key, forms in words.items()}
    for scene, captions in captioned:
        if scene.species == "none":
            continue
        for caption in captions:
            for (name, value), found in patterns.items():
                said = any(pattern.search(caption.text) for pattern in found)
                assert said == (caption.states.get(name) == value), (caption, name, value)


def test_number_and_noun_agree(captioned: list[Captioned]):
    """One animal is never plural and several are never singular."""
    for scene, captions in captioned:
        if scene.count is None:
            continue
        for caption in captions:
            words = caption.text.lower().replace(",", "").replace(".", "").split()
            for species in ("cow", "horse", "alpaca", "animal"):
                wrong = f"{species}s" if scene.count == "1" else species
                assert wrong not in words or "animals around" in caption.text, caption
            if scene.count != "1":
                assert not {"stands", "looks"} & set(words), caption


def test_a_lone_animal_is_counted_by_its_article():
    """'A cow' states a count of one; 'cows' states the species alone."""
    rng = np.random.default_rng(0)
    lone = {"species": "cow", "count": "1", "colour": "brown", "ground": "snow",
            "setting": "countryside"}  # fmt: skip
    for _ in range(200):
        facts = choose_facts(lone, rng)
        assert "count" in facts or not {"species", "colour"} & set(facts)
    herd = write_caption(lone | {"count": "3"}, ["species", "ground"], rng)
    assert "cows" in herd.text.lower()
    assert herd.states == {"species": "cow", "ground": "snow"}


def test_every_caption_of_a_held_out_scene_states_its_triple():
    """Colour, species and ground stand in each of the five, so no training picture meets them."""
    for index in range(200):
        rng = np.random.default_rng([3, index])
        scene = sample_scene(rng, "heldout")
        for caption in caption_scene(scene, rng):
            assert set(TRIPLE) <= set(caption.states)
            assert len(caption.states) <= 4


def test_captions_of_one_picture_differ_in_what_they_say(captioned: list[Captioned]):
    """On average fewer than half of the facts of two captions of a picture are shared."""
    shares = [
        len(set(a.states) & set(b.states)) / len(set(a.states) | set(b.states))
        for scene, (a, b, *_) in captioned
        if scene.setting == "countryside"
    ]
    assert np.mean(shares) < 0.5

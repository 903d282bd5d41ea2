from collections import Counter

import numpy as np
import pytest

from bucolic.meadow.scenes import (
    ATTRIBUTES,
    CANVAS_PX,
    HELDOUT_TRIPLES,
    Scene,
    sample_scene,
)

MODEL_PX = 64


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    """Ordinary scenes."""
    return [sample_scene(np.random.default_rng([1, index])) for index in range(4000)]


def test_the_same_generator_gives_the_same_scene():
    """A scene depends on its generator alone."""
    one, other = (sample_scene(np.random.default_rng(7)) for _ in range(2))
    assert one == other


def test_animals_are_large_enough_to_be_told_apart(scenes: list[Scene]):
    """A lone animal is at least 20 px high at 64 px, any of several at least 12 px."""
    smallest = {"1": np.inf, "2": np.inf, "3": np.inf}
    for scene in scenes:
        for animal in scene.sprites if scene.count else ():
            height = animal.height * MODEL_PX / CANVAS_PX
            smallest[scene.count] = min(smallest[scene.count], height)
    assert smallest["1"] >= 20
    assert min(smallest["2"], smallest["3"]) >= 12


def test_sprites_stand_apart_inside_the_picture(scenes: list[Scene]):
    """No animal hides another and none is cut by the edge, so masks need no occlusion."""
    for scene in scenes:
        boxes = [sprite.box for sprite in scene.sprites]
        for left, top, right, bottom in boxes:
            assert left >= 2.9
            assert top >= 0
            assert right <= CANVAS_PX - 2.9
            assert bottom <= CANVAS_PX
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                assert a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]


def test_a_scene_shows_as_many_animals_as_it_says(scenes: list[Scene]):
    """Count and sprites agree; without animals neither colour nor count applies."""
    for scene in scenes:
        animals = [f for f in scene.sprites if f.kind == scene.species]
        assert len(animals) == int(scene.count or 0)
        assert (scene.species == "none") == (scene.colour is None) == (scene.count is None)


def test_truth_uses_listed_values_only(scenes: list[Scene]):
    """Every attribute takes values of its closed list, and every value occurs."""
    seen = {name: Counter() for name in ATTRIBUTES}
    for scene in scenes:
        for name, value in scene.truth.items():
            seen[name][value] += 1
    assert {name: set(counts) for name, counts in seen.items()} == {
        name: set(values) for name, values in ATTRIBUTES.items()
    }


def test_held_out_triples_never_occur_though_each_pair_of_parts_is_common(scenes: list[Scene]):
    """Ordinary scenes show no held-out triple, yet any two of its parts at least five times."""
    drawn = [scene.triple for scene in scenes]
    assert not HELDOUT_TRIPLES & set(drawn)
    assert len(HELDOUT_TRIPLES) == 8
    for triple in HELDOUT_TRIPLES:
        for left_out in range(3):
            parts = [i for i in range(3) if i != left_out]
            alike = [t for t in drawn if all(t[i] == triple[i] for i in parts)]
            assert len(alike) >= 5, (triple, parts)


def test_held_out_scenes_show_all_triples_and_nothing_else():
    """The held-out stream covers the eight triples, black sheep in snow among them."""
    drawn = {sample_scene(np.random.default_rng(i), "heldout").triple for i in range(300)}
    assert drawn == HELDOUT_TRIPLES
    assert ("black", "sheep", "snow") in drawn

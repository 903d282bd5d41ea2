"""Diversity of a prompt's pictures, and what decides them."""

from dataclasses import replace

import numpy as np
import pytest

from bucolic.evaluation.condition_use import condition_use
from bucolic.evaluation.diversity import _ratio, diversity, mean_distance
from bucolic.seeing.jury import Jury
from bucolic.seeing.prompts import choose_prompts
from made_world import PerfectArtist, World, WorldProbe, WorldTowers, decode, draw

JURY = Jury(WorldTowers(), WorldProbe())


class FreeArtist(PerfectArtist):
    """Leaves to chance what a prompt leaves open, as the real scenes do."""

    def draw(self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """Pictures of prompts."""
        generator = np.random.default_rng(seed)
        values = {"species": ["cow", "sheep"], "colour": ["black", "brown", "white"],
                  "count": ["1", "2", "3"], "ground": ["grass", "sand", "snow"]}  # fmt: skip

        def picture(vector: np.ndarray) -> np.ndarray:
            free = {name: str(generator.choice(options)) for name, options in values.items()}
            facts = free | decode(vector)
            if facts["species"] == "none":  # a scene without animals has neither, as real ones
                del facts["colour"], facts["count"]
            return draw(facts, generator)

        return np.stack([[picture(vector) for _ in range(n)] for vector in text_vectors])


def test_mean_distance_is_that_of_all_pairs():
    """Three vectors, two of them equal: distances 0, 1 and 1."""
    vectors = np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]])
    assert mean_distance(vectors) == pytest.approx(2 / 3)


def test_an_artist_that_repeats_itself_has_no_diversity_and_a_free_one_the_real_ones(world: World):
    """The ratio to real pictures that meet the prompt is about 1 where chance is the scenes'."""
    prompts = choose_prompts(world.test, world.attributes, limit=40)
    texts = world.test.caption_vectors[prompts.caption_rows]
    ratios = []
    for artist in (PerfectArtist(), FreeArtist()):
        drawn = artist.draw(texts, n=8)
        found = diversity(drawn, prompts, world.test, world.attributes, JURY)
        ratios.append(found["ratio"].value)
        assert found["of_draws"].n == 40
    assert ratios[0] == pytest.approx(0, abs=1e-6)
    assert ratios[1] == pytest.approx(1, abs=0.25)


def test_a_real_picture_meets_all_that_a_caption_says_judged_or_not(world: World):
    """What is left out of judging, as of scenes without animals, still narrows what is compared."""
    prompts = choose_prompts(world.test, world.attributes, limit=40)
    drawn = FreeArtist().draw(world.test.caption_vectors[prompts.caption_rows], n=4)
    silent = replace(prompts, stated=({},) * len(prompts))
    found = [
        diversity(drawn, each, world.test, world.attributes, JURY)["of_real"].value
        for each in (prompts, silent)
    ]
    assert found[0] is not None
    assert found[0] == found[1]
    everything = replace(world.attributes, states={})
    at_large = diversity(drawn, prompts, world.test, everything, JURY)["of_real"].value
    assert at_large is not None
    assert at_large > found[0]


def test_without_attributes_nobody_knows_which_real_pictures_meet_a_prompt(world: World):
    """The draws' own distance is there, the others have a reason."""
    prompts = choose_prompts(world.test, None, limit=5)
    drawn = FreeArtist().draw(world.test.caption_vectors[prompts.caption_rows], n=4)
    found = diversity(drawn, prompts, world.test, None, JURY)
    assert found["of_draws"].value is not None
    assert "does not say" in str(found["ratio"].reason)


class HalfBlind:
    """Rebuilds a picture but for what the condition adds; draws with noise."""

    def __init__(self, condition_levels: int, chance_levels: int) -> None:
        self.condition_levels, self.chance_levels = condition_levels, chance_levels

    def reconstruct(self, images: np.ndarray, image_vectors: np.ndarray) -> np.ndarray:
        """Two levels off, and more where the condition is another picture's."""
        own = np.isclose(image_vectors[:, 0], images.mean(axis=(1, 2, 3)))
        error = np.where(own, 2, 2 + self.condition_levels)
        return (images + error[:, None, None, None]).astype(np.uint8)

    def draw_of_images(self, image_vectors: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """The mean of the picture, so many levels off."""
        assert seed == 0
        level = image_vectors[:, 0] + 2 + self.chance_levels
        return np.broadcast_to(level[:, None, None, None], (len(level), 3, 8, 8)).astype(np.uint8)


def test_each_way_into_a_picture_is_told_by_what_is_lost_without_it():
    """An error that grows from 2 to 6 levels costs 20 log10(3) dB."""
    images = np.broadcast_to(np.arange(50, 60, dtype=np.uint8)[:, None, None, None], (10, 3, 8, 8))
    vectors = images.mean(axis=(1, 2, 3), keepdims=False)[:, None]
    found = condition_use(HalfBlind(4, 0), images, vectors, 0)
    assert found["shuffled_condition_drop_db"].value == pytest.approx(20 * np.log10(3), abs=1e-3)
    assert found["resampled_latent_drop_db"].value == pytest.approx(0, abs=1e-6)
    found = condition_use(HalfBlind(0, 4), images, vectors, 0)
    assert found["shuffled_condition_drop_db"].value == pytest.approx(0, abs=1e-6)
    assert found["resampled_latent_drop_db"].value == pytest.approx(20 * np.log10(3), abs=1e-3)


def test_a_single_picture_has_no_other_condition():
    """There is a reason, not a drop of 0 dB."""
    images = np.full((1, 3, 8, 8), 50, np.uint8)
    found = condition_use(HalfBlind(4, 0), images, np.full((1, 1), 50.0), 0)
    assert all(figure.value is None for figure in found.values())


def test_the_interval_of_a_ratio_holds_it_as_often_as_it_says():
    """Of 200 samples of 50 prompts whose real and drawn distances go together, about 190."""
    generator, hold = np.random.default_rng(0), 0
    for _ in range(200):
        real = generator.uniform(0.5, 1.5, 50)
        own = 0.6 * real + generator.normal(0, 0.1, 50)
        low, high = _ratio(own, real).interval or (0.0, 0.0)
        hold += low <= 0.6 <= high
    assert 180 <= hold <= 199

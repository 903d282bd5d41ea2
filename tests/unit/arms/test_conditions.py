"""What trainings and arms are conditioned on, in the made world."""

import numpy as np
import pytest
import torch

from bucolic.arms.conditions import Ladder, fitted_ladder
from bucolic.arms.table import ARMS, PROMPTS, QUESTIONS, TRAININGS, Arm
from bucolic.data.shards import Split
from bucolic.models import text_priors
from made_world import World, make_world


@pytest.fixture(scope="module")
def world() -> World:
    """The made world."""
    return make_world()


@pytest.fixture(scope="module")
def ladder(world: World) -> Ladder:
    """All rungs, of which those that learn are given few steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_priors, "STEPS", 200)
        return fitted_ladder(world.train, world.test, 0)


def prompted(ladder: Ladder, arm: Arm, split: Split) -> torch.Tensor:
    """What an arm is asked with for every caption of a split."""
    images = split.image_vectors[split.caption_rows]
    return ladder.prompted(arm, TRAININGS[arm.training], images, split.caption_vectors, 0)


@pytest.mark.parametrize("arm", ARMS, ids=lambda arm: arm.name)
def test_all_conditions_have_the_same_length(world: World, ladder: Ladder, arm: Arm):
    """Whatever a prompt comes through, it ends on the sphere of radius sqrt(e)."""
    found = prompted(ladder, arm, world.test)

    torch.testing.assert_close(found.norm(dim=1), torch.full((len(found),), 12**0.5))


def test_an_arm_s_own_pictures_are_conditions_of_its_training(world: World, ladder: Ladder):
    """Asked with a train picture itself, an arm is asked with what it was trained on."""
    for name in ("I", "N"):
        data = ladder.data(TRAININGS[name], world.train)
        found = prompted(ladder, Arm(name, "image"), world.train)
        torch.testing.assert_close(found, data.image_conditions[world.train.caption_rows])


def test_training_on_captions_sees_what_its_arm_is_asked_with(world: World, ladder: Ladder):
    """Raw texts on both sides, centred ones, and mapped ones, as the training has them."""
    for arm in (Arm("T", "none"), Arm("C", "shift"), Arm("M", "ridge")):
        data = ladder.data(TRAININGS[arm.training], world.train)
        torch.testing.assert_close(prompted(ladder, arm, world.train), data.text_conditions)


def test_raw_texts_are_not_told_apart_from_pictures(world: World, ladder: Ladder):
    """The original study's way: a text's embedding is put in the picture's place as it is."""
    texts = world.test.caption_vectors

    found = prompted(ladder, Arm("I", "none"), world.test)

    expected = texts / np.linalg.norm(texts, axis=1, keepdims=True) * 12**0.5
    torch.testing.assert_close(found, torch.from_numpy(expected))


def test_what_a_prompt_leaves_open_is_how_far_its_condition_is_off(world: World, ladder: Ladder):
    """The size of the difference between mapped captions and their pictures, value by value."""
    data = ladder.data(TRAININGS["N"], world.test)
    mapped = prompted(ladder, Arm("N", "ridge"), world.test)

    left_open = (mapped - data.image_conditions[world.test.caption_rows]).square().mean().sqrt()

    assert ladder.unexplained == pytest.approx(float(left_open), rel=0.02)


def test_each_rung_explains_what_the_one_below_does_and_more(world: World, ladder: Ladder):
    """Of a picture's embedding: raw text the least, then exchanged means, then a fitted map."""
    gap = ladder.gap(world.test)

    assert gap["r2_none"] <= gap["r2_shift"] < gap["r2_ridge"] < 1


def test_arms_trainings_and_questions_name_one_another():
    """Every arm has a training and a prompt that are declared, every question two arms."""
    names = [arm.name for arm in ARMS]

    assert len(set(names)) == len(names) >= 9
    assert {arm.training for arm in ARMS} == set(TRAININGS)
    assert {arm.prompt for arm in ARMS} == set(PROMPTS)
    assert {name for asked in QUESTIONS for name in (asked.better, asked.worse)} <= set(names)

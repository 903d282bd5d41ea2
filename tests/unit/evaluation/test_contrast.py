from typing import Any

import numpy as np
import pytest

from bucolic.evaluation.contrast import Contrast, derangement, distractors, normalised_text
from bucolic.seeing.prompts import Prompts, choose_prompts


@pytest.fixture(scope="module")
def prompts(world: Any) -> Prompts:
    """Eighty ordinary prompts."""
    return choose_prompts(world.test, world.attributes, limit=80)


def says(world: Any, row: int) -> dict[str, str]:
    """What the caption at `row` states."""
    stated: dict[str, str] = world.attributes.states[int(world.test.caption_ids[row])]
    return stated


def contradict(a: dict[str, str], b: dict[str, str]) -> bool:
    """Whether two statements give one attribute two values."""
    return any(b.get(name, value) != value for name, value in a.items())


def test_every_distractor_gives_another_value_to_a_stated_attribute(world: Any, prompts: Prompts):
    """99 different captions a prompt, each false of its picture."""
    contrast = Contrast(world.test, world.attributes)
    asked, rivals = distractors(contrast, prompts, world.test.caption_ids, seed=0)
    assert asked.tolist() == list(range(80))
    assert rivals.shape == (80, 99)
    for caption, others in zip(prompts.caption_rows, rivals, strict=True):
        assert len(set(others.tolist())) == 99
        assert all(contradict(says(world, caption), says(world, other)) for other in others)


def test_a_prompts_distractors_do_not_depend_on_its_mates(world: Any, prompts: Prompts):
    """The draw of one prompt is the same alone and among others, and another with another seed."""
    contrast = Contrast(world.test, world.attributes)
    _, together = distractors(contrast, prompts, world.test.caption_ids, seed=0)
    alone = prompts.take(np.array([7]))
    _, one = distractors(contrast, alone, world.test.caption_ids, seed=0)
    assert one[0].tolist() == together[7].tolist()
    _, other = distractors(contrast, alone, world.test.caption_ids, seed=1)
    assert other[0].tolist() != together[7].tolist()


def test_prompts_with_too_few_distractors_are_not_asked(world: Any, prompts: Prompts):
    """More distractors than there are captions: nobody is asked, nothing breaks."""
    contrast = Contrast(world.test, world.attributes)
    asked, rivals = distractors(contrast, prompts, world.test.caption_ids, seed=0, number=10_000)
    assert len(asked) == 0
    assert rivals.shape == (0, 10_000)


def test_a_derangement_gives_every_picture_a_contradicting_prompt(world: Any, prompts: Prompts):
    """Each prompt is used once, and never by a picture that could meet it."""
    contrast = Contrast(world.test, world.attributes)
    pictures, others = derangement(contrast, prompts, seed=0)
    assert pictures.tolist() == list(range(80))
    assert sorted(others.tolist()) == list(range(80))
    for picture, other in zip(pictures, others, strict=True):
        rows = prompts.caption_rows[[picture, other]]
        assert contradict(says(world, rows[0]), says(world, rows[1]))


def test_a_single_prompt_has_no_derangement(world: Any, prompts: Prompts):
    """A picture that cannot be given another prompt is left out."""
    contrast = Contrast(world.test, world.attributes)
    pictures, others = derangement(contrast, prompts.take(np.array([0])), seed=0)
    assert (len(pictures), len(others)) == (0, 0)


def test_without_attributes_other_image_and_other_text_is_asked(world: Any):
    """Captions of the same image, and the same words elsewhere, do not contradict."""
    contrast = Contrast(world.test, None)
    own = contrast.contradicting(0)
    assert not own[:3].any()
    same_text = [
        row for row, text in enumerate(world.test.captions) if text == world.test.captions[0]
    ]
    assert len(same_text) > 1
    assert not own[same_text].any()
    assert own.sum() == len(own) - len(set(same_text) | {0, 1, 2})


def test_texts_are_compared_by_their_words():
    """Case, punctuation and spaces do not make another text."""
    assert normalised_text("Two  Cows, in a field.") == "two cows in a field"


def test_ten_distractors_are_near_misses(world: Any, prompts: Prompts):
    """They differ in one stated fact and agree in another; the first ten alone must."""
    contrast = Contrast(world.test, world.attributes)
    _, rivals = distractors(contrast, prompts, world.test.caption_ids, seed=0)
    for caption, others in zip(prompts.caption_rows, rivals[:, :10], strict=True):
        mine = says(world, caption)
        for other in others:
            theirs = says(world, other)
            shared = mine.keys() & theirs.keys()
            assert sum(mine[name] != theirs[name] for name in shared) == 1
            assert len(shared) > 1


def test_near_misses_ask_about_each_stated_fact_in_turn(world: Any, prompts: Prompts):
    """No two say the same, each stated fact is among the first, and chance decides among equals."""
    contrast = Contrast(world.test, world.attributes)
    taken: list[int] = []
    for caption in map(int, prompts.caption_rows):
        mine = says(world, caption)
        near = contrast.near_misses(caption, np.random.default_rng(caption))[:10]
        theirs = [says(world, row) for row in near]
        assert len({tuple(sorted(stated.items())) for stated in theirs}) == len(near)
        facts = [
            next(name for name in mine.keys() & stated.keys() if mine[name] != stated[name])
            for stated in theirs
        ]
        assert len(set(facts[: len(set(facts))])) == len(set(facts))
        taken += near
    often = np.bincount(taken, minlength=len(world.test.captions)).max()
    assert often <= 25  # of 80 prompts: no caption is everybody's rival


def test_without_attributes_there_are_no_near_misses(world: Any):
    """Nothing says what a caption states."""
    assert Contrast(world.test, None).near_misses(0, np.random.default_rng(0)) == []

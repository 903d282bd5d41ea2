import json
from pathlib import Path
from typing import Any

import numpy as np

from bucolic.seeing.prompts import TRIPLE, choose_prompts, first_half, read_all_attributes


def test_one_prompt_an_image_of_the_asked_slice(world: Any):
    """Ordinary prompts come from ordinary images, each with a caption of its own."""
    prompts = choose_prompts(world.test, world.attributes, limit=10_000)
    assert len(prompts) == 300
    assert len(set(prompts.image_rows.tolist())) == 300
    assert (world.test.caption_rows[prompts.caption_rows] == prompts.image_rows).all()
    assert prompts.image_rows.max() < 300


def test_a_limit_keeps_the_first_and_moves_none(world: Any):
    """A smaller limit is a prefix of a larger one."""
    few = choose_prompts(world.test, world.attributes, limit=20)
    many = choose_prompts(world.test, world.attributes, limit=40)
    assert few.caption_rows.tolist() == many.caption_rows[:20].tolist()


def test_held_out_prompts_state_the_whole_triple(world: Any):
    """Captions that leave part of the triple open are passed over."""
    prompts = choose_prompts(
        world.test, world.attributes, limit=500, of_slice="heldout", must_state=TRIPLE
    )
    assert len(prompts) == 210
    assert all(set(TRIPLE) <= set(says) for says in prompts.stated)


def test_facts_of_animals_are_judged_only_where_there_are_some(world: Any):
    """A caption that says there is no animal is not asked for its species."""
    prompts = choose_prompts(world.test, world.attributes, limit=10_000)
    truths = [world.attributes.truth[int(world.test.image_ids[row])] for row in prompts.image_rows]
    empty = [says for says, truth in zip(prompts.stated, truths, strict=True)
             if truth["species"] == "none"]  # fmt: skip
    assert len(empty) > 50
    assert all(set(says) <= {"ground"} for says in empty)


def test_without_attributes_all_images_are_ordinary_and_nothing_is_stated(world: Any):
    """Photographs have prompts too, but none of a held-out slice."""
    assert len(choose_prompts(world.test, None, limit=10_000)) == 510
    assert choose_prompts(world.test, None, limit=3).stated == ({}, {}, {})
    assert len(choose_prompts(world.test, None, limit=3, of_slice="heldout")) == 0


def test_halves_are_about_equal_and_fixed_by_the_id():
    """Half of the ids fall on each side, wherever they stand."""
    ids = np.arange(2000)
    half = first_half(ids)
    assert 900 < half.sum() < 1100
    assert (first_half(ids[::-1])[::-1] == half).all()


def test_attributes_of_both_source_splits_are_joined(tmp_path: Path):
    """Test may be val2017 or a part of train2017: both files are read; none gives None."""
    assert read_all_attributes(tmp_path) is None
    for image_id, split in ((1, "train2017"), (2, "val2017")):
        content = {
            "version": 1,
            "attributes": {"species": ["cow"]},
            "images": [{"image_id": image_id, "slice": "ordinary", "truth": {"species": "cow"}}],
            "captions": [{"caption_id": 10 + image_id, "image_id": image_id, "states": {}}],
        }
        (tmp_path / f"attributes_{split}.json").write_text(json.dumps(content))
    joined = read_all_attributes(tmp_path)
    assert joined is not None
    assert set(joined.truth) == {1, 2}
    assert set(joined.states) == {11, 12}

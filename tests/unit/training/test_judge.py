from typing import Any

import numpy as np
import pytest
import torch

from bucolic.seeing.jury import Jury
from bucolic.seeing.prompts import choose_prompts
from bucolic.training.guidance import Sampling
from bucolic.training.judge import Judge
from made_world import SIZE_PX, WorldProbe, WorldTowers, decode, draw, make_world


class Painter:
    """Draws what a prompt states, and every second prompt's species wrong below guidance 2."""

    def conditions_of_texts(self, vectors: np.ndarray, seeds: list[int]) -> torch.Tensor:
        """The vectors as they are."""
        assert len(set(seeds)) == len(vectors)
        return torch.from_numpy(vectors)

    def draw(
        self, conditions: torch.Tensor, seeds: list[int], *, guidance: float, steps: int
    ) -> torch.Tensor:
        """Pictures of prompts."""
        assert steps == 4
        pictures = [
            draw(self._facts(vector, place, guidance), np.random.default_rng(seed))
            for place, (vector, seed) in enumerate(zip(conditions.numpy(), seeds, strict=True))
        ]
        return torch.from_numpy(np.stack(pictures))

    @staticmethod
    def _facts(vector: np.ndarray, place: int, guidance: float) -> dict[str, str]:
        facts = decode(vector)
        wrong = guidance < 2 and place % 2 and facts.get("species") in {"cow", "sheep"}
        other = {"cow": "sheep", "sheep": "cow"}
        return facts | ({"species": other[facts["species"]]} if wrong else {})


@pytest.fixture(scope="module")
def judge() -> Judge:
    """A judge with a probe, on the world's ordinary scenes."""
    world = make_world()
    prompts = choose_prompts(world.test, world.attributes, limit=200)
    model: Any = Painter()
    return Judge(model, Jury(WorldTowers(), WorldProbe()), 20.0, world.test, prompts, 0)


def test_a_candidate_s_figures_are_those_of_its_pictures(judge: Judge):
    """Where all is drawn right the probe says so; where species are wrong, that and no other."""
    right, wrong = judge(Sampling(2.0, 4)), judge(Sampling(1.0, 4))
    names = ("attributes_all_right", "species", "count", "colour")
    assert [1.0] * 4 == [right.figures[name] for name in names]
    stated = np.array([says.get("species") in {"cow", "sheep"} for says in judge.prompts.stated])
    share = 1 - float(np.mean((stated & (np.arange(200) % 2 == 1))[stated]))
    assert wrong.figures["species"] == pytest.approx(share, abs=0.02)
    assert wrong.figures["count"] == 1.0
    low, high = wrong.intervals["species"]
    assert low < wrong.figures["species"] < high
    assert right.scores.shape == (200,)
    assert right.figures["match"] == pytest.approx(right.scores.mean())
    assert right.scores.mean() > wrong.scores.mean()


def test_pictures_of_the_world_are_near_its_real_ones(judge: Judge):
    """The same scenes drawn again are as sharp, and no further off in KID than chance."""
    found = judge(Sampling(2.0, 4)).figures
    assert found["sharpness"] == pytest.approx(1.0, abs=0.25)
    assert found["kid"] is not None
    assert abs(found["kid"]) < 0.6
    assert judge.val.images.shape[-1] == SIZE_PX


def test_photographs_have_no_attributes_and_few_pictures_no_kid(judge: Judge):
    """Without a probe CLIP alone judges; under 50 pictures in a half KID is left out."""
    rows = np.arange(40)
    few = Judge(
        judge.model, Jury(WorldTowers(), None), 20.0, judge.val, judge.prompts.take(rows), 0
    )
    found = few(Sampling(2.0, 4)).figures
    assert set(found) == {"match", "kid", "sharpness"}
    assert found["kid"] is None

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from bucolic.data.verdicts import read_verdicts, write_verdicts
from bucolic.evaluation.study import Findings, Study, on_held_out_combinations, on_ordinary_prompts
from bucolic.evaluation.verdicts import verdict_rows
from bucolic.seeing.jury import Jury
from made_world import BlurredTowers, PerfectArtist, WorldProbe, WorldTowers


class Careless(PerfectArtist):
    """Draws nothing in particular the first time, and what was asked the second."""

    def draw(self, text_vectors: Any, *, n: int = 1, seed: int = 0) -> Any:
        """Pictures of prompts."""
        drawn = super().draw(text_vectors, n=n, seed=seed)
        drawn[:, 0] = super().draw(text_vectors * 0, n=1, seed=seed)[:, 0]
        return drawn


@pytest.fixture(scope="module")
def careless(study: Study) -> Study:
    """Two draws, one of them careless, before a jury with a judge that cannot see the ground."""
    jury = Jury(WorldTowers(), WorldProbe(), BlurredTowers())
    return dataclasses.replace(study, artist=Careless(), jury=jury)


@pytest.fixture(scope="module")
def ordinary(careless: Study) -> Findings:
    """Its ordinary prompts."""
    return on_ordinary_prompts(careless)


def test_one_row_a_prompt_and_draw(careless: Study, ordinary: Findings, tmp_path: Path):
    """Both slices in order; what is stated, what is seen, and what follows from it."""
    held_out = on_held_out_combinations(careless)
    sittings = {"ordinary": ordinary.sitting, "heldout": held_out.sitting}
    write_verdicts(
        tmp_path / "v.parquet", verdict_rows(careless.test, sittings), careless.jury.names
    )
    rows = read_verdicts(tmp_path / "v.parquet").to_pylist()
    assert [(row["slice"], row["prompt"], row["draw"]) for row in rows[:3]] == [
        ("ordinary", 0, 0),
        ("ordinary", 0, 1),
        ("ordinary", 1, 0),
    ]
    assert len(rows) == 2 * (250 + 210)
    for row in rows:
        seen = dict(row["seen"])
        right = all(seen[name] == value for name, value in row["stated"])
        assert row["all_right"] == (right if row["stated"] else None)
    share = sum(bool(row["all_right"]) for row in rows[:500]) / 500
    assert share == pytest.approx(ordinary.figures["metrics.attributes_all_right"].value, abs=1e-9)


def test_figures_are_means_over_all_draws(ordinary: Findings):
    """Every second draw is right, and n says how many prompts there are."""
    found = ordinary.figures["metrics.attributes_all_right"]
    assert found.value is not None
    assert 0.5 <= found.value < 0.7
    assert found.n == 250
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] < 0.12


def test_the_best_draw_is_the_one_that_clip_finds_nearest(ordinary: Findings):
    """It is always the second one here, and its own CLIP does not judge what it picked."""
    found = ordinary.figures
    assert found["best_of.attributes_all_right"].value == 1.0
    assert found["best_of.r_precision"].value is not None
    for name in ("r_precision_own_clip", "clip_similarity"):
        assert "has picked" in str(found[f"best_of.{name}"].reason)


def test_the_judge_is_another_than_the_clip_that_models_are_conditioned_on(ordinary: Findings):
    """A judge that never tells the ground misses pictures that the other finds."""
    judged, own = (
        ordinary.figures[f"bounds.real.{name}"].value
        for name in ("r_precision", "r_precision_own_clip")
    )
    assert own == 1.0
    assert judged is not None
    assert judged < 0.9


def test_without_a_judge_the_only_clip_judges_alone(study: Study):
    """The headline is there, and the second figure says that it would be the same."""
    found = on_ordinary_prompts(study).figures
    assert found["metrics.r_precision"].value == 1.0
    assert "the only judge" in str(found["metrics.r_precision_own_clip"].reason)
    assert "has picked" in str(found["best_of.r_precision"].reason)


class Stubborn(PerfectArtist):
    """Draws every second prompt wrong, and all draws of a prompt alike."""

    def draw(self, text_vectors: Any, *, n: int = 1, seed: int = 0) -> Any:
        """Pictures of prompts."""
        asked = text_vectors.copy()
        asked[::2] = 0
        return super().draw(asked, n=n, seed=seed)


def test_draws_that_agree_make_no_interval_narrower(study: Study):
    """Two equal draws of a prompt tell no more than one."""
    narrow, wide = (
        on_ordinary_prompts(dataclasses.replace(study, artist=Stubborn(), draws=draws)).figures[
            "metrics.attributes_all_right"
        ]
        for draws in (4, 1)
    )
    assert narrow.value == pytest.approx(wide.value)
    assert narrow.interval == pytest.approx(wide.interval, abs=1e-6)

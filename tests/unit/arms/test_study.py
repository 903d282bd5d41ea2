"""The whole study on the made world, with networks that are as small as they can be."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bucolic.arms import study, trainings, verdicts
from bucolic.arms.page import gap_line, lines
from bucolic.arms.study import Setup, studied
from bucolic.arms.table import ARMS, QUESTIONS
from bucolic.base.errors import ParamsError
from bucolic.models import text_priors
from bucolic.models.cvae.config import AutoencoderConfig, CvaeConfig, CvaeTrainConfig, PriorConfig
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.jury import Jury
from made_world import BlurredTowers, WorldProbe, WorldTowers, make_world

DRAWS, PROMPTS = 2, 30


class ScaledTowers(WorldTowers):
    """Towers that say how sure they are."""

    scale = 10.0


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Two seeds and a few batches for each training."""
    world = make_world()
    towers = ScaledTowers()
    monkeypatch.setattr(text_priors, "STEPS", 100)
    monkeypatch.setattr(verdicts, "GUIDANCES", (1.0, 2.0))
    monkeypatch.setattr(study, "load_towers", lambda *_: towers)
    monkeypatch.setattr(study, "summoned", lambda *_: Jury(towers, WorldProbe(), BlurredTowers()))
    return Setup(
        splits={"train": world.train, "val": world.test, "test": world.test},
        attributes=world.attributes,
        clip=ClipConfig(),
        judge=None,
        shapes=CvaeConfig(
            autoencoder=AutoencoderConfig(2, 8, 1, 1, 8), prior=PriorConfig(32, 1, 16)
        ),
        config=CvaeTrainConfig(
            precision="fp32",
            batch_size=16,
            autoencoder_images=64,
            prior_images=64,
            validations=1,
            steps=(2,),
            judged_prompts=12,
        ),
        prompts=PROMPTS,
        draws=DRAWS,
        seeds=(0, 1),
        device="cpu",
        folder=tmp_path / "arms",
    )


def test_every_arm_has_a_row_and_every_question_an_answer(setup: Setup):
    """Rows hold mean, interval and seeds of what was drawn, differences those of pairs."""
    found = studied(setup)

    assert [row["arm"] for row in found["rows"]] == [arm.name for arm in ARMS]
    assert [gap["claim"] for gap in found["differences"]] == [asked.claim for asked in QUESTIONS]
    for row in found["rows"]:
        low, high = row["interval"]
        assert (row["seeds"], row["n"]) == (2, PROMPTS)
        assert low <= row["value"] <= high
        assert np.mean(row["by_seed"]) == pytest.approx(row["value"], abs=1e-4)
        assert set(row["others"]) == {"r_precision", "species"}
    values = {row["arm"]: row["value"] for row in found["rows"]}
    for gap in found["differences"]:
        expected = values[gap["better"]] - values[gap["worse"]]
        assert gap["value"] == pytest.approx(expected, abs=2e-4)
    table = [line for line in lines(found) if line.startswith("|")]
    assert len(table) == len(ARMS) + len(QUESTIONS) + 4
    assert "centroids" in gap_line(found)


def test_a_study_that_was_killed_goes_on_where_it_was(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
):
    """What was judged is neither trained nor drawn again, and the figures are the same."""
    whole = studied(setup)
    (folder,) = setup.folder.iterdir()
    lost = folder / f"N-ridge-1-{PROMPTS * DRAWS}x{DRAWS}.json"
    lost.unlink()
    judged: list[str] = []
    tries = verdicts.Court.tries

    def counted(self: verdicts.Court, model: Any, arm: Any, *others: Any) -> Any:
        judged.append(arm.name)
        return tries(self, model, arm, *others)

    monkeypatch.setattr(verdicts.Court, "tries", counted)
    steps: list[int] = []
    advance = trainings.Trainer.advance
    monkeypatch.setattr(
        trainings.Trainer, "advance", lambda self: (steps.append(1), advance(self))[1]
    )

    again = studied(setup)

    assert json.dumps(again) == json.dumps(whole)
    assert judged == ["N-ridge"]
    assert steps == []


def test_arms_of_one_seed_share_autoencoder_and_noise_and_seeds_share_the_autoencoder(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
):
    """Of all that draw, nothing but the prior and its condition differs."""
    drawn: list[tuple[Any, ...]] = []
    draw = verdicts.drawn

    def noted(model: Any, conditions: torch.Tensor, seeds: list[int], sampling: Any) -> Any:
        weights = torch.cat([p.detach().flatten() for p in model.autoencoder.parameters()])
        prior = torch.cat([p.detach().flatten() for p in model.prior.parameters()])
        drawn.append((float(weights.sum()), float(prior.sum()), tuple(seeds)))
        return draw(model, conditions, seeds, sampling)

    monkeypatch.setattr(verdicts, "drawn", noted)

    studied(setup)

    assert len({weights for weights, _, _ in drawn}) == 1
    assert len({prior for _, prior, _ in drawn}) == 10  # five trainings of two seeds
    of_test = {seeds for _, _, seeds in drawn if len(seeds) == PROMPTS * DRAWS}
    assert len(of_test) == 2  # one noise a seed, whatever the arm


def test_the_decoder_is_given_no_condition(setup: Setup, monkeypatch: pytest.MonkeyPatch):
    """Other conditions for the decoder change nothing while the latents are the same."""
    seen: list[torch.Tensor] = []
    monkeypatch.setattr(
        verdicts,
        "drawn",
        lambda model, conditions, seeds, sampling: _with_other_conditions(
            seen, model, conditions, seeds, sampling
        ),
    )

    studied(setup)

    assert len(seen) > 0
    assert all(torch.equal(*pair) for pair in seen)


def _with_other_conditions(
    seen: list[Any], model: Any, conditions: torch.Tensor, seeds: list[int], sampling: Any
) -> torch.Tensor:
    original = model.prior.sample
    model.prior.sample = lambda noise, condition, **more: original(
        noise, torch.ones_like(condition), **more
    )
    first = trainings.drawn(model, conditions, seeds, sampling)
    seen.append((first, trainings.drawn(model, -conditions, seeds, sampling)))
    del model.prior.sample
    return first


def test_the_original_s_own_model_gets_rows_of_one_seed(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
):
    """Trained on pictures and on captions, asked with raw text; kept, and judged like the rest."""
    monkeypatch.setattr("bucolic.training.context.FEWEST_ROWS", 4)
    large = {
        name: replace(split, images=split.images.repeat(4, axis=2).repeat(4, axis=3))
        for name, split in setup.splits.items()
    }
    asked = replace(setup, splits=large, seeds=(0,), original_images=16, prompts=8, draws=1)

    found = studied(asked)

    rows = {row["arm"]: row for row in found["rows"]}
    assert list(rows)[-2:] == ["dlfp-image", "dlfp-text"]
    for name in ("dlfp-image", "dlfp-text"):
        assert (rows[name]["seeds"], rows[name]["n"], rows[name]["images_seen"]) == (1, 8, 16)
        assert 0 <= rows[name]["value"] <= 1
        assert list(setup.folder.glob(f"*/{name}-16-8x1.json"))
    *_, last = found["differences"]
    assert (last["better"], last["worse"], last["n"]) == ("dlfp-image", "dlfp-text", 8)
    between = rows["dlfp-image"]["value"] - rows["dlfp-text"]["value"]
    assert last["value"] == pytest.approx(between, abs=1e-3)
    assert last["by_seed"] == [last["value"]]
    weights = [next(setup.folder.glob(f"*/{name}-16")) for name in ("dlfp-image", "dlfp-text")]
    assert all(list(folder.glob("autoencoder-*.safetensors")) for folder in weights)
    assert json.dumps(studied(asked)) == json.dumps(found)


def test_noise_is_put_on_what_the_noisy_trainings_see_alone(
    setup: Setup, monkeypatch: pytest.MonkeyPatch
):
    """Up to as much as a prompt leaves open, in trainings N and M; none in the others."""
    seen: list[tuple[float, float]] = []
    chance_of = trainings.chance_of

    def noted(config: Any, shape: Any) -> Any:
        seen.append((config.text_share, config.condition_noise))
        return chance_of(config, shape)

    monkeypatch.setattr(trainings, "chance_of", noted)

    studied(replace(setup, seeds=(0,)))

    noises = dict(seen[1:])  # by share of captions, the last training with it
    assert len(seen) == 6  # the autoencoder, then five trainings
    assert [noise > 0 for _, noise in seen] == [False, False, False, False, True, True]
    assert noises[0.5] == pytest.approx(noises[0.0])
    assert 0.3 < noises[0.5] < 1.2


@pytest.mark.parametrize("of_split", ["val", "test"])
def test_a_study_without_prompts_is_refused_before_it_trains(setup: Setup, of_split: str):
    """In one line that counts them."""
    captions = setup.splits[of_split]
    none = replace(
        captions,
        caption_ids=captions.caption_ids[:0],
        caption_rows=captions.caption_rows[:0],
        captions=(),
        caption_vectors=captions.caption_vectors[:0],
    )

    with pytest.raises(ParamsError, match="too few to compare"):
        studied(replace(setup, splits=setup.splits | {of_split: none}))

    assert not setup.folder.exists()


def test_what_another_recipe_left_is_not_taken_for_this_ones(setup: Setup):
    """Another budget in the same folder is trained and judged anew."""
    studied(setup)
    (first,) = setup.folder.iterdir()
    config = setup.config.model_copy(update={"prior_images": 128})
    studied(replace(setup, config=config))
    assert 2 == len(list(setup.folder.iterdir()))
    assert first in set(setup.folder.iterdir())


def test_prompts_that_state_nothing_are_refused_before_anything_is_trained(setup: Setup):
    """The probe would have nothing to judge."""
    assert setup.attributes is not None
    silent = replace(setup.attributes, states={})
    with pytest.raises(ParamsError, match="too few prompts of test state what can be seen"):
        studied(replace(setup, attributes=silent))
    assert not setup.folder.exists()

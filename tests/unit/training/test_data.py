from dataclasses import replace

import numpy as np
import pytest
import torch

from bucolic.data.shards import Split
from bucolic.models.conditioning import Conditioning
from bucolic.training.data import (
    Chance,
    TrainingData,
    batch_of,
    draw_batch,
    fixed_batches,
    pairs_of,
    share_of,
    training_data,
)
from bucolic.training.draws import generator

CHANCE = Chance(0, flip=True, condition_drop=0.1, text_share=0.5, noise_shape=(4, 4, 4))


def test_texts_are_grouped_by_picture(splits: dict[str, Split]):
    """Captions in any order end beside their picture's other captions."""
    split = splits["train"]
    order = np.random.default_rng(0).permutation(len(split.captions))
    mixed = replace(
        split,
        caption_rows=split.caption_rows[order],
        caption_vectors=split.caption_vectors[order],
    )
    conditioning = Conditioning(split.image_vectors.shape[1])

    data = training_data(mixed, conditioning)

    assert data.text_starts.tolist() == list(range(0, 81, 2))
    own = conditioning.of_texts(torch.from_numpy(split.caption_vectors))
    for row in range(len(data)):
        mine = slice(2 * row, 2 * row + 2)
        torch.testing.assert_close(
            own[mine].sort(0).values, data.text_conditions[mine].sort(0).values
        )


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_conditions_are_the_picture_s_own_or_one_of_its_captions(data: TrainingData, share: float):
    """Without texts each row gets its own embedding, with texts alone one of its two captions."""
    chance = replace(CHANCE, text_share=share)

    batch = draw_batch(data, chance, "prior", start=0, count=40)

    for row, condition in zip(batch.rows, batch.conditions, strict=True):
        captions = data.text_conditions[2 * row : 2 * row + 2]
        allowed = captions if share else data.image_conditions[row : row + 1]
        assert any(torch.equal(condition, one) for one in allowed)


def test_every_caption_gets_its_turn(data: TrainingData):
    """Over many draws of one picture both of its captions are used."""
    chance = replace(CHANCE, text_share=1.0)

    batch = batch_of(data, torch.full((64,), 39), chance, generator(0))

    used = {tuple(condition.tolist()) for condition in batch.conditions}
    assert used == {tuple(c.tolist()) for c in data.text_conditions[78:80]}


def test_a_picture_without_captions_keeps_its_own_embedding(data: TrainingData):
    """Rows with no text fall back to the picture, also at the end of the split."""
    bare = replace(
        data,
        text_conditions=data.text_conditions[:2],
        text_starts=torch.tensor([0, 2] + [2] * 39),
    )

    batch = batch_of(bare, torch.tensor([0, 39]), replace(CHANCE, text_share=1.0), generator(0))

    assert not torch.equal(batch.conditions[0], data.image_conditions[0])
    assert torch.equal(batch.conditions[1], data.image_conditions[39])


def test_chances_are_met_on_average(data: TrainingData):
    """About a tenth of the rows loses its condition, half is mirrored, times fill (0, 1)."""
    batch = draw_batch(data, CHANCE, "prior", start=0, count=8000)

    assert batch.dropped.float().mean().item() == pytest.approx(0.1, abs=0.015)
    assert batch.flipped.float().mean().item() == pytest.approx(0.5, abs=0.03)
    assert batch.noise.std().item() == pytest.approx(1, abs=0.01)
    assert 0 < batch.times.min() < 0.1
    assert 0.9 < batch.times.max() < 1


def test_times_are_logit_normal(data: TrainingData):
    """Their quantiles are the logistic function of the normal distribution's."""
    times = draw_batch(data, CHANCE, "prior", start=0, count=20_000).times
    shares = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    expected = torch.special.ndtri(shares).sigmoid()
    torch.testing.assert_close(torch.quantile(times, shares), expected, atol=0.01, rtol=0)


def test_a_batch_depends_on_the_images_seen_alone(data: TrainingData):
    """Drawn again at the same place a batch is the same; at another place it is not."""
    one, again = (draw_batch(data, CHANCE, "prior", start=64, count=16) for _ in range(2))
    later = draw_batch(data, CHANCE, "prior", start=80, count=16)

    assert all(torch.equal(vars(one)[name], vars(again)[name]) for name in vars(one))
    assert not torch.equal(one.noise, later.noise)


def test_processes_share_a_batch_without_overlap(data: TrainingData):
    """The shares of two processes, put together, are the batch."""
    batch = draw_batch(data, CHANCE, "prior", start=0, count=10)

    shares = [share_of(batch, rank, 2) for rank in range(2)]

    for name, whole in vars(batch).items():
        assert torch.equal(whole, torch.cat([vars(share)[name] for share in shares]))


def test_validation_looks_at_the_same_draws_each_time(data: TrainingData):
    """Fixed batches cover the first rows in order, nothing mirrored or dropped, equal each time."""
    one, again = (fixed_batches(data, CHANCE.without_drop(), limit=25, count=10) for _ in range(2))

    assert [len(batch.rows) for batch in one] == [10, 10, 5]
    assert torch.cat([batch.rows for batch in one]).tolist() == list(range(25))
    assert not any(bool(batch.flipped.any() | batch.dropped.any()) for batch in one)
    assert all(torch.equal(a.noise, b.noise) for a, b in zip(one, again, strict=True))


def test_noise_on_a_picture_s_embedding_is_as_large_as_asked_for(data: TrainingData):
    """Length stays; the angle is that of noise between none and the most; captions get none."""
    rows, most = torch.zeros(4000, dtype=torch.int64), 1.5
    own, chance = data.image_conditions[0], replace(CHANCE, text_share=0.0)

    noisy = batch_of(data, rows, replace(chance, condition_noise=most), generator(0, "noise"))

    conditions = noisy.conditions
    torch.testing.assert_close(conditions.norm(dim=1), own.norm().expand(4000))
    cosines = torch.cosine_similarity(conditions, own[None])
    level = torch.linspace(0, most, 1000)  # E cos for noise of so many standard deviations, about
    assert float(cosines.mean()) == pytest.approx(
        float((1 / (1 + level**2).sqrt()).mean()), abs=0.02
    )
    assert cosines.max() > 0.999
    captions = replace(chance, text_share=1.0, condition_noise=most)
    asked = batch_of(data, rows, captions, generator(0, "noise")).conditions
    assert {tuple(row) for row in asked.tolist()} <= {
        tuple(row) for row in data.text_conditions[:2].tolist()
    }


def test_without_noise_batches_are_what_they_were(data: TrainingData):
    """A level of zero draws no number, so everything else in a batch stays the same."""
    quiet = draw_batch(data, CHANCE, "prior", start=0, count=16)
    noisy = draw_batch(data, replace(CHANCE, condition_noise=0.5), "prior", start=0, count=16)

    assert torch.equal(quiet.noise, noisy.noise)
    assert torch.equal(quiet.times, noisy.times)
    assert not torch.equal(quiet.conditions, noisy.conditions)


def test_where_the_text_prior_draws_each_caption_is_trained_with_a_draw(splits: dict[str, Split]):
    """Conditions of captions are draws, the same ones for the same seed, and not expectations."""
    split = splits["train"]
    conditioning = Conditioning(split.image_vectors.shape[1], "ridge", text_draws=2)
    conditioning.fit(pairs_of(split), pairs_of(splits["val"]))

    first, again, other = (training_data(split, conditioning, seed) for seed in (0, 0, 1))

    expected = conditioning.of_texts(torch.from_numpy(split.caption_vectors))
    assert torch.equal(first.text_conditions, again.text_conditions)
    assert not torch.equal(first.text_conditions, other.text_conditions)
    assert not torch.equal(first.text_conditions, expected)

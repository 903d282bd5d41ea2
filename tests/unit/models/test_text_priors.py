"""The ladder from texts to pictures, on pairs whose law is known."""

import pytest
import torch

from bucolic.models import text_priors
from bucolic.models.conditioning import Conditioning, Pairs
from bucolic.models.cvae.config import SPREAD
from bucolic.models.text_priors import LADDER, Centred, EmbeddingFlow, Ridge, mean_cosine, ridge

EMBED, CAPTIONS = 8, 2


def pairs(pictures: int, seed: int, *, bent: bool = False) -> Centred:
    """Texts say half of what a picture shows, rotated; what they leave open is Gaussian.

    `bent` makes what is shown a square of what is said, which no linear map knows.
    """
    chance = torch.Generator().manual_seed(seed)
    rotation = torch.linalg.qr(torch.randn(EMBED, EMBED, generator=torch.Generator())).Q
    said = torch.randn(pictures, EMBED // 2, generator=chance)
    open_ = torch.randn(pictures, EMBED // 2, generator=chance) * torch.tensor([2.0, 1, 0.5, 0.1])
    shown = said**2 - 1 if bent else said
    images = torch.cat([shown, 0.5 * open_], dim=1) / 3
    rows = torch.arange(pictures).repeat_interleave(CAPTIONS)
    words = 0.1 * torch.randn(len(rows), EMBED // 2, generator=chance)
    texts = torch.cat([said[rows], words], dim=1) @ rotation / 3
    return Centred(texts, images[rows], rows)


@pytest.mark.parametrize("rung", ["ridge", "mlp", "flow"])
def test_every_fitted_rung_brings_held_out_texts_near_their_pictures(rung: str):
    """By the cosine to the picture, each comes near what is the most that can be known."""
    train, val = pairs(600, 1), pairs(200, 2)
    torch.manual_seed(0)
    prior = LADDER[rung](EMBED)
    before = mean_cosine(prior, val)

    prior.fit(train, val, 0)

    known = torch.cat([val.images[:, : EMBED // 2], 0 * val.images[:, EMBED // 2 :]], dim=1)
    most = torch.cosine_similarity(known, val.images).mean()
    assert before < 0.3
    assert most - 0.05 < mean_cosine(prior, val) < most + 0.01


@pytest.mark.parametrize("rung", ["mlp", "flow"])
def test_networks_learn_what_no_linear_map_knows(rung: str):
    """Where pictures show the square of what texts say, ridge finds nothing and networks do."""
    train, val = pairs(2000, 1, bent=True), pairs(400, 2, bent=True)
    torch.manual_seed(0)
    line, network = Ridge(EMBED), LADDER[rung](EMBED)

    for prior in (line, network):
        prior.fit(train, val, 0)

    assert mean_cosine(line, val) < 0.25
    assert mean_cosine(network, val) > 0.65


@pytest.mark.parametrize("rung", ["ridge", "flow"])
def test_drawn_embeddings_spread_as_pictures_of_one_text_do(rung: str):
    """The variance of draws, direction by direction, is that of what the text leaves open."""
    train, val = pairs(3000, 1), pairs(200, 2)
    torch.manual_seed(0)
    prior = LADDER[rung](EMBED)
    prior.fit(train, val, 0)

    with torch.no_grad():
        text = val.texts[:1].expand(4000, -1)
        drawn = prior(text, torch.randn(4000, EMBED, generator=torch.Generator().manual_seed(3)))

    left_open = 0.5 * torch.tensor([2.0, 1, 0.5, 0.1]) / 3
    torch.testing.assert_close(drawn.std(0)[EMBED // 2 :], left_open, rtol=0.15, atol=0.015)
    assert (drawn.std(0)[: EMBED // 2] < 0.06).all()
    torch.testing.assert_close(drawn.mean(0), prior(text[:1])[0].detach(), rtol=0, atol=0.05)


def test_ridge_draws_with_the_covariance_that_it_left_unexplained():
    """Noise times the spread has exactly the covariance of train's residuals."""
    train, val = pairs(300, 1), pairs(100, 2)
    prior = Ridge(EMBED)
    prior.fit(train, val, 0)

    residuals = train.images - prior(train.texts)

    torch.testing.assert_close(
        prior.spread.T @ prior.spread, residuals.T @ residuals / len(residuals)
    )


def test_what_is_learned_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch):
    """Two fits are equal bit for bit, and torch's own random state is not touched."""
    monkeypatch.setattr(text_priors, "STEPS", 200)
    train, val = pairs(100, 1), pairs(50, 2)
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        prior = EmbeddingFlow(EMBED)
        state = torch.get_rng_state()
        prior.fit(train, val, 7)
        assert torch.equal(state, torch.get_rng_state())
        found.append(prior(val.texts))

    assert torch.equal(*found)


def test_the_weights_that_are_kept_are_those_that_val_likes_best(monkeypatch: pytest.MonkeyPatch):
    """A descent that ends worse than it was gives back its best weights."""
    monkeypatch.setattr(text_priors, "STEPS", 300)
    module = torch.nn.Linear(1, 1, bias=False)
    module.weight.data.fill_(0.0)
    looked: list[float] = []

    def held_out() -> float:
        looked.append(float(module.weight.detach()))
        return abs(looked[-1] - 0.1)

    def loss(rows: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
        return -module.weight.sum()

    text_priors._descend(module, loss, 10, held_out, seed=0)

    assert len(looked) == 3
    assert abs(float(module.weight.detach()) - min(looked, key=lambda w: abs(w - 0.1))) < 1e-6
    assert looked[-1] > looked[0]


def test_the_contrast_asks_nothing_of_other_captions_of_the_same_picture():
    """Two captions of one picture in a batch are no rivals: the loss is that of the rest."""
    twins, rows = torch.eye(3)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 1])

    found = text_priors._contrast(twins, twins, rows)

    rivals = 2 * torch.tensor(-text_priors.CONTRAST_SCALE).exp()
    torch.testing.assert_close(found, torch.log1p(rivals))
    assert text_priors._contrast(twins, twins, torch.arange(4)) > torch.log(torch.tensor(2.0))


def test_of_several_draws_the_one_most_like_the_text_is_taken():
    """The condition is that of the draw whose picture embedding has the largest cosine with it."""
    torch.manual_seed(0)
    images, texts = torch.randn(60, EMBED), torch.randn(60, EMBED)
    few = Pairs(images, texts, torch.arange(60))
    conditioning = Conditioning(EMBED, "ridge", 5)
    conditioning.fit(few, few)
    noise = torch.randn(60, 5, EMBED)

    taken = conditioning.of_texts(texts, noise)

    each = [conditioning.of_texts(texts, noise[:, [k]]) for k in range(5)]
    drawn = torch.stack(
        [conditioning.text_prior(conditioning.centred(few).texts, noise[:, k]) for k in range(5)]
    )
    alike = torch.cosine_similarity(drawn + conditioning.image_mean, texts[None], dim=2)
    for row, best in enumerate(alike.argmax(0)):
        assert torch.equal(taken[row], each[best][row])
    assert len(set(alike.argmax(0).tolist())) > 1


def test_without_a_prior_a_raw_text_stands_in_for_a_picture():
    """Rung none takes the mean of pictures off texts, rung shift their own."""
    torch.manual_seed(0)
    images, texts = torch.randn(60, EMBED) + 2, torch.randn(60, EMBED) - 2
    few = Pairs(images, texts, torch.arange(60))
    raw, shifted = Conditioning(EMBED, "none"), Conditioning(EMBED, "shift")
    raw.fit(few, few)
    shifted.fit(few, few)

    assert torch.equal(raw.of_texts(texts), raw.of_images(texts))
    assert float(shifted.of_texts(texts).mean(0).norm()) < 0.5
    assert float(raw.of_texts(texts).mean(0).norm()) > 2


def test_ridge_solves_its_own_equations():
    """The gradient of the penalised squared error is zero at the solution."""
    torch.manual_seed(0)
    inputs, targets = torch.randn(40, 6).double(), torch.randn(40, 6).double()
    solution = ridge(inputs, targets, 0.1).requires_grad_()

    scale = (inputs**2).sum(0).mean()
    objective = ((inputs @ solution - targets) ** 2).sum() + 0.1 * scale * (solution**2).sum()
    (gradient,) = torch.autograd.grad(objective, solution)

    assert gradient.abs().max() < 1e-10


def test_a_penalty_means_the_same_for_more_rows():
    """Twice the same rows give the same map."""
    inputs, targets = torch.randn(40, 6).double(), torch.randn(40, 6).double()

    once = ridge(inputs, targets, 0.1)
    twice = ridge(inputs.repeat(2, 1), targets.repeat(2, 1), 0.1)

    torch.testing.assert_close(once, twice)


def test_params_know_which_rungs_draw():
    """`text_draws` is refused of those for which noise makes no difference."""
    assert {name for name, rung in LADDER.items() if rung(EMBED).samples} == set(SPREAD)

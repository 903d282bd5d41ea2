from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.models.cvae.alignment import AlignedPrior, Projector
from bucolic.models.cvae.autoencoder import Autoencoder
from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
from bucolic.models.cvae.gaussian_prior import GaussianPrior
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.cvae.objectives import (
    AutoencoderObjective,
    Joint,
    Maps,
    PriorObjective,
    detail_of,
    kl_weight,
)
from bucolic.models.model import to_unit
from bucolic.models.phases import END, Batch, Moment, TrainingData, mean_psnr_db
from bucolic.training.data import Chance, draw_batch

Mean = Callable[[torch.Tensor], torch.Tensor]
CHANCE = Chance(0, flip=True, condition_drop=0.1, text_share=0.5, noise_shape=(4, 4, 4))


def test_only_marked_pictures_are_mirrored():
    """A marked row is turned left to right, the other one is left alone."""
    pictures = torch.arange(12).view(2, 1, 2, 3).to(torch.uint8)
    nothing = torch.zeros(0)
    data = TrainingData(pictures, nothing, nothing, nothing)
    flipped = torch.tensor([True, False])
    batch = Batch(torch.tensor([0, 1]), flipped, nothing, nothing, nothing, nothing)

    turned = data.pictures_of(batch) * 255

    assert turned[0, 0].tolist() == [[2, 1, 0], [5, 4, 3]]
    assert turned[1, 0].tolist() == [[6, 7, 8], [9, 10, 11]]


def test_psnr_while_training_is_that_of_the_evaluation():
    """The mean over pictures of each one's decibels, and finite where nothing differs."""
    rng = np.random.default_rng(0)
    pictures, rebuilt = rng.integers(0, 256, (2, 5, 3, 8, 8)).astype(np.uint8)
    units = [to_unit(torch.from_numpy(each)) for each in (rebuilt, pictures)]

    assert float(mean_psnr_db(*units)) == pytest.approx(psnr_db(rebuilt, pictures).mean(), abs=1e-4)
    assert float(mean_psnr_db(units[0], units[0])) == pytest.approx(100.0)


def test_latents_follow_the_mirrored_pictures():
    """A mirrored row gets the latents of the mirrored picture."""
    latents = Maps(torch.zeros(5, 4, 4, 4), torch.ones(5, 4, 4, 4))
    data = TrainingData(
        torch.zeros(5, 3, 32, 32, dtype=torch.uint8),
        torch.zeros(5, 2),
        torch.zeros(0, 2),
        torch.zeros(6, dtype=torch.long),
    )
    batch = draw_batch(data, CHANCE, "prior", start=0, count=20)

    found = latents.at(batch)

    assert torch.equal(batch.flipped.float(), found.flatten(1).mean(1))
    assert 0 < batch.flipped.sum() < 20


def test_two_halves_average_to_the_gradient_of_the_whole(data: TrainingData):
    """With sigma shared, mean gradients of two half batches are those of the whole batch."""
    torch.manual_seed(0)
    network = Joint(Autoencoder(AutoencoderConfig(4, 16, 1, 1, 16), embed_dim=12))
    batch = draw_batch(data, CHANCE, "autoencoder", start=0, count=8)
    halves = [
        type(batch)(*(tensor[part] for tensor in vars(batch).values()))
        for part in (slice(4), slice(4, 8))
    ]
    errors: list[torch.Tensor] = []

    def collect(value: torch.Tensor) -> torch.Tensor:
        errors.append(value)
        return value

    def gradient(batches: list[Batch], mean: Mean) -> torch.Tensor:
        objective = AutoencoderObjective(network, data, 2.0, mean)
        network.zero_grad()
        for part in batches:
            (objective(part, Moment(1, 10))[0] / len(batches)).backward()
        return torch.cat([p.grad.flatten() for p in network.parameters()])

    whole = gradient([batch], collect)
    split = gradient(halves, lambda _: errors[0])

    torch.testing.assert_close(whole, split, rtol=1e-3, atol=1e-6)


def test_both_objectives_fall_when_they_are_minimised(data: TrainingData):
    """Thirty steps on one batch lower either loss by a fifth or more."""
    torch.manual_seed(0)
    chance = replace(CHANCE, flip=False)
    batch = draw_batch(data, chance, "prior", start=0, count=8)
    latents = Maps(*(torch.randn(40, 4, 4, 4),) * 2)
    objectives = [
        AutoencoderObjective(
            Joint(
                Autoencoder(AutoencoderConfig(4, 16, 1, 1, 16), 12),
                GaussianPrior(16, (4, 4, 4), 12),
            ),
            data,
            4.0,
            lambda value: value,
        ),
        PriorObjective(AlignedPrior(LatentPrior(PriorConfig(32, 2, 16), 4, 12)), latents),
    ]

    for objective in objectives:
        optimiser = torch.optim.AdamW(objective.network.parameters(), lr=3e-3)
        losses = []
        for _ in range(30):
            loss, _values = objective(batch, END)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(loss.item())
        assert losses[-1] < losses[0] - 0.2 * abs(losses[0])


def test_detail_is_fine_structure_at_the_scale_of_white_noise():
    """A slope has none inside, a checkerboard 8/sqrt(20) of its height, white noise its own."""
    slope = torch.arange(8.0).expand(1, 3, 8, 8)
    assert detail_of(slope)[..., 1:-1].abs().max() < 1e-6
    board = ((torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1).expand(1, 1, 8, 8)
    inside = detail_of(board)[..., 1:-1, 1:-1]
    torch.testing.assert_close(inside, -8 / 20**0.5 * board[..., 1:-1, 1:-1])
    noise = torch.randn((4, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    assert abs(detail_of(noise).std().item() - 1) < 0.03


def test_weighted_detail_is_added_to_the_bound(data: TrainingData):
    """Weight 0 leaves the bound alone; twice the weight adds twice as much, the bound is told."""
    torch.manual_seed(0)
    network = Joint(Autoencoder(AutoencoderConfig(4, 16, 1, 1, 16), 12))
    batch = draw_batch(data, CHANCE, "autoencoder", start=0, count=8)
    objectives = [AutoencoderObjective(network, data, w, lambda v: v) for w in (0.0, 1.0, 2.0)]
    with torch.no_grad():
        found = [objective(batch, END) for objective in objectives]
    losses = [float(loss) for loss, _ in found]
    bounds = [float(values["bound"]) for _, values in found]
    assert losses[0] == bounds[0] == bounds[1] == bounds[2]
    assert losses[1] > losses[0]
    assert abs((losses[2] - losses[0]) / (losses[1] - losses[0]) - 2) < 1e-3


def test_the_kl_term_is_phased_in_over_a_fifth():
    """Weight 0 at the start, 1 from a fifth of the budget on, and at the end."""
    weights = [kl_weight(Moment(step, 40)) for step in (0, 4, 8, 39)]

    assert weights == [0, 0.5, 1, 1]
    assert kl_weight(END) == 1


def test_features_of_an_aligned_prior_come_to_say_what_clip_sees(data: TrainingData):
    """In sixty steps the cosine with the maps of another world rises past 0.5; alone it stays."""
    torch.manual_seed(0)
    chance = replace(CHANCE, flip=False)
    latents = torch.randn(40, 4, 4, 4)
    mixed = torch.einsum("ij,njhw->nihw", torch.randn(6, 4), latents)
    maps = Maps(*(3 + 2 * mixed.half(),) * 2)

    def reached(weight: float) -> list[float]:
        torch.manual_seed(1)
        prior = LatentPrior(PriorConfig(32, 2, 16), 4, 12)
        network = AlignedPrior(prior, Projector(32, maps.plain))
        objective = PriorObjective(network, Maps(latents, latents), maps, weight)
        optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
        cosines = []
        for step in range(60):
            loss, values = objective(
                draw_batch(data, chance, "prior", start=8 * step, count=8), END
            )
            torch.testing.assert_close(
                loss.detach(), values["flow"] + weight * (1 - values["alignment"])
            )
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            cosines.append(float(values["alignment"]))
        return cosines

    aligned, alone = reached(1.0), reached(0.0)
    assert aligned[0] == alone[0] < 0.2
    assert sum(aligned[-5:]) / 5 > 0.5
    assert sum(alone[-5:]) / 5 < 0.3


def test_cosines_are_of_standardised_maps():
    """A channel's offset and scale do not enter: features that say the same have cosine 1."""
    torch.manual_seed(0)
    plain = torch.randn(50, 3, 2, 2)
    std, mean = torch.std_mean(plain, dim=(0, 2, 3), keepdim=True)
    plain = (plain - mean) / std
    scales, offsets = torch.tensor([1.0, 10, 0.1]), torch.tensor([5.0, -70, 0.3])
    maps = plain * scales[:, None, None] + offsets[:, None, None]
    projector = Projector(3, maps.half())
    projector.layers = torch.nn.Identity()  # type: ignore[assignment]
    assert (projector(plain, maps) > 0.999).all()
    assert (projector(-plain, maps) < -0.999).all()


def test_a_gaussian_prior_trained_beside_takes_the_place_of_n01_in_the_bound(data: TrainingData):
    """Untrained it is N(0, I), and the bound the same; afterwards KL is to what it says."""
    torch.manual_seed(0)
    autoencoder, prior = (
        Autoencoder(AutoencoderConfig(4, 16, 1, 1, 16), 12),
        GaussianPrior(16, (4, 4, 4), 12),
    )
    batch = draw_batch(data, CHANCE, "autoencoder", start=0, count=8)

    def kl_nats(network: Joint) -> float:
        with torch.no_grad():
            _, values = AutoencoderObjective(network, data, 0.0, lambda v: v)(batch, END)
        return float(values["kl_nats"])

    assert kl_nats(Joint(autoencoder)) == kl_nats(Joint(autoencoder, prior))
    torch.nn.init.normal_(prior.project.weight, std=0.3)
    pictures = data.pictures_of(batch)
    with torch.no_grad():
        said = prior(batch.conditions, batch.dropped)
        expected = autoencoder.encoder(pictures).kl_to(said).mean()
    assert abs(kl_nats(Joint(autoencoder, prior)) - float(expected)) < 1e-3 * float(expected)

import pytest
import torch
from torch import Tensor, nn

from bucolic.models.cvae.config import PriorConfig
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.times import fourier_features

CONFIG = PriorConfig(width=32, blocks=2, condition_width=16)


class TowardsTarget(nn.Module):
    """The exact velocity of a flow whose every path ends in one point; counts its calls.

    Without a condition the point is zero.
    """

    def __init__(self, target: Tensor) -> None:
        super().__init__()
        self.target = target
        self.conditional, self.unconditional = 0, 0

    def with_features(self, points: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        """The velocity, and the points for features."""
        return self(points, *others), points

    def forward(self, points: Tensor, times: Tensor, _: Tensor, dropped: Tensor) -> Tensor:
        """Velocity at points and times."""
        self.unconditional += int(dropped.sum())
        self.conditional += int((~dropped).sum())
        target = torch.where(dropped[:, None, None, None], 0.0, self.target)
        return (target - points) / (1 - times[:, None, None, None]).clamp(min=1e-3)


class Bending(nn.Module):
    """A velocity that depends on place and time, whatever the condition."""

    def forward(self, points: Tensor, times: Tensor, *_: Tensor) -> Tensor:
        """Velocity at points and times."""
        return (2 * points + times[:, None, None, None]).sin()


@pytest.fixture
def prior() -> LatentPrior:
    """A small prior, not trained."""
    torch.manual_seed(0)
    return LatentPrior(CONFIG, latent_channels=4, embed_dim=12)


def test_sampling_follows_the_velocity_to_the_target(prior: LatentPrior):
    """With the exact velocity of a straight flow, the steps end near the target."""
    target = torch.randn(2, 4, 8, 8)
    prior.network = TowardsTarget(target)

    latents = prior.sample(torch.randn(2, 4, 8, 8), torch.zeros(2, 12), guidance=1, steps=64)

    assert float((latents - target).abs().max()) < 0.1


def test_guidance_one_never_asks_for_the_unconditional_velocity(prior: LatentPrior):
    """Three steps cost a row four velocities, and as many without a condition when guided."""
    prior.network = network = TowardsTarget(torch.zeros(1))
    noise, condition = torch.randn(1, 4, 8, 8), torch.zeros(1, 12)

    prior.sample(noise, condition, guidance=1.0, steps=3)
    assert (network.conditional, network.unconditional) == (4, 0)
    prior.sample(noise, condition, guidance=2.0, steps=3)
    assert (network.conditional, network.unconditional) == (8, 4)


def test_guidance_exaggerates_what_the_condition_changes(prior: LatentPrior):
    """Guidance 2 goes twice as far from the unconditional end as the condition does."""
    prior.network = TowardsTarget(torch.full((1, 4, 8, 8), 1.5))

    latents = prior.sample(torch.zeros(1, 4, 8, 8), torch.zeros(1, 12), guidance=2.0, steps=64)

    assert latents.mean().item() == pytest.approx(3.0, rel=0.05)


def test_samples_come_back_in_the_latents_own_scale(prior: LatentPrior):
    """Statistics of the train split are applied before the flow and undone after it."""
    latents = torch.randn(50, 4, 8, 8) * torch.tensor([1.0, 2, 3, 4]).view(1, 4, 1, 1) + 7
    prior.set_statistics(latents)
    prior.network = TowardsTarget(torch.zeros(1))

    normal = prior.normalise(latents)
    samples = prior.sample(torch.randn(3, 4, 8, 8), torch.zeros(3, 12), guidance=1, steps=64)

    assert normal.mean((0, 2, 3)).abs().max() < 1e-5
    torch.testing.assert_close(torch.ones(4), normal.std((0, 2, 3)))
    assert samples.mean().item() == pytest.approx(7, abs=0.1)


def test_the_loss_is_the_squared_velocity_error(prior: LatentPrior):
    """A network that says zero is charged |z - noise|^2, and one that knows the answer nothing."""
    latents, noise = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8)
    times, kept = torch.tensor([0.1, 0.5, 0.9]), torch.zeros(3, dtype=torch.bool)
    arguments = (latents, noise, times, torch.zeros(3, 12), kept)

    untrained, features = prior.flow_loss(*arguments)
    prior.network = TowardsTarget(latents)
    exact, _ = prior.flow_loss(*arguments)

    torch.testing.assert_close((latents - noise).square().mean((1, 2, 3)), untrained)
    assert float(exact.max()) < 1e-8
    assert features.shape == (3, CONFIG.width, 8, 8)


def test_condition_and_time_reach_the_velocity(prior: LatentPrior):
    """Trained weights make the velocity depend on the condition and on the time."""
    for parameter in prior.parameters():
        nn.init.normal_(parameter, std=0.2)
    points, kept = torch.randn(1, 4, 8, 8), torch.zeros(1, dtype=torch.bool)
    condition, time = torch.randn(1, 12), torch.tensor([0.3])

    velocity = prior.network(points, time, condition, kept)

    assert not torch.allclose(velocity, prior.network(points, time, -condition, kept))
    assert not torch.allclose(velocity, prior.network(points, time + 0.2, condition, kept))


def test_a_flow_that_is_trained_follows_its_condition(prior: LatentPrior):
    """Latents lie at +1 or -1 as the condition says, and do not where it is withheld."""
    generator = torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(prior.parameters(), lr=3e-3)
    condition = torch.zeros(64, 12)
    condition[:32, 0], condition[32:, 0] = 3.0, -3.0
    side = condition[:, :1, None, None].sign()
    for _ in range(150):
        latents = side + 0.1 * torch.randn(64, 4, 4, 4, generator=generator)
        noise, uniform = torch.randn(64, 4, 4, 4, generator=generator), torch.rand(64, 2)
        errors, _ = prior.flow_loss(latents, noise, uniform[:, 0], condition, uniform[:, 1] < 0.2)
        optimiser.zero_grad()
        errors.mean().backward()
        optimiser.step()
    noise = torch.randn(64, 4, 4, 4, generator=generator)

    with torch.inference_mode():
        told = prior.sample(noise, condition, guidance=1.0, steps=16).mean((1, 2, 3))
        times, withheld = noise.new_zeros(64), torch.ones(64, dtype=torch.bool)
        untold = prior.network(noise, times, condition, withheld)
        otherwise = prior.network(noise, times, -condition, withheld)

    assert ((told > 0) == (condition[:, 0] > 0)).all()
    assert told.abs().mean().item() == pytest.approx(1, abs=0.15)
    assert torch.equal(untold, otherwise)


def test_near_times_have_near_waves_and_far_times_differ():
    """The time embedding is smooth at its slow end and tells close times apart at its quick one."""
    waves = fourier_features(torch.tensor([0.0, 0.01, 1.0]))

    assert waves.shape == (3, 64)
    near, far = (waves[0] - waves[1]).norm(), (waves[0] - waves[2]).norm()
    assert 0.5 < near < far


def test_the_way_back_to_noise_is_at_least_of_second_order(prior: LatentPrior):
    """Twice as many steps of a field that bends find the noise at least four times as exactly."""
    prior.network = Bending()
    prior.set_statistics(torch.randn(8, 4, 8, 8) * 2 + 1)
    noise, condition = torch.randn(2, 4, 8, 8), torch.randn(2, 12)

    def missed(steps: int) -> float:
        with torch.no_grad():
            latents = prior.sample(noise, condition, guidance=1, steps=steps)
            found = prior.noise_behind(latents, condition, steps=steps)
        return float((found - noise).abs().max())

    errors = [missed(steps) for steps in (16, 32, 64)]
    assert errors[0] / errors[1] > 3.9
    assert errors[1] / errors[2] > 3.9
    assert errors[2] < 1e-2

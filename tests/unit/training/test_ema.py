import pytest
import torch
from torch import nn

from bucolic.training.ema import RunningAverage


def constant(value: float) -> nn.Linear:
    """A network of one weight."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, value)
    return network


@pytest.mark.parametrize(
    ("updates", "kept"), [(0, 0.1), (8, 0.5), (8_989, 8_990 / 8_999), (20_000, 0.999)]
)
def test_an_update_keeps_more_the_later_it_comes(updates: int, kept: float):
    """A tenth of the start at the first update, half at the ninth, 0.999 at most."""
    network = constant(0.0)
    average = RunningAverage(network, updates=updates)
    nn.init.constant_(network.weight, 1.0)

    average.update_parameters(network)

    assert float(average.module.weight) == pytest.approx(1 - kept, rel=1e-5)


def test_an_average_goes_on_where_it_was():
    """Told how many updates there were, a new one makes the very bytes of the one it replaces."""
    torch.manual_seed(0)
    network = nn.Linear(40, 30)
    whole = RunningAverage(network)
    again = RunningAverage(network)
    for step in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        if step == 3:
            kept = again.module.state_dict()
            again = RunningAverage(network, updates=step)
            again.module.load_state_dict(kept)
        whole.update_parameters(network)
        again.update_parameters(network)

    assert torch.equal(whole.module.weight, again.module.weight)
    assert not torch.equal(whole.module.weight, network.weight)


def test_each_update_is_one_interpolation_of_each_parameter():
    """Equal, to the last bit, to torch.lerp by 1 - (1 + n) / (10 + n) after n updates."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Linear(8, 8))
    average = RunningAverage(network)
    expected = [parameter.detach().clone() for parameter in network.parameters()]
    for n in range(20):
        with torch.no_grad():
            for parameter, kept in zip(network.parameters(), expected, strict=True):
                parameter.add_(torch.randn_like(parameter))
                kept.lerp_(parameter, 1 - (1 + n) / (10 + n))
        average.update_parameters(network)

    found = list(average.module.parameters())
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def test_the_average_is_a_copy_that_takes_no_gradient():
    """Training the network leaves the average alone."""
    network = nn.Linear(2, 2)
    average = RunningAverage(network)
    before = average.module.weight.clone()

    nn.init.zeros_(network.weight)

    assert torch.equal(before, average.module.weight)
    assert not any(parameter.requires_grad for parameter in average.parameters())

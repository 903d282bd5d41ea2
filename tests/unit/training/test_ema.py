import pytest
import torch
from torch import nn

from bucolic.training.ema import Average


def test_the_first_update_nearly_forgets_the_start():
    """With warm-up the first update keeps a tenth of the start."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, 0.999)
    nn.init.constant_(network.weight, 1.0)

    average.update(network, 0)

    assert float(average.network.weight) == pytest.approx(0.9)


def test_late_updates_use_the_full_decay():
    """After many updates the decay is the one asked for."""
    network = nn.Linear(1, 1, bias=False)
    nn.init.constant_(network.weight, 0.0)
    average = Average(network, 0.9)
    nn.init.constant_(network.weight, 1.0)

    average.update(network, 10_000)

    assert float(average.network.weight) == pytest.approx(0.1)


def test_the_average_is_a_copy_that_takes_no_gradient():
    """Training the network leaves the average alone."""
    network = nn.Linear(2, 2)
    average = Average(network, 0.9)
    before = average.network.weight.clone()

    nn.init.zeros_(network.weight)

    assert torch.equal(before, average.network.weight)
    assert not any(parameter.requires_grad for parameter in average.network.parameters())

import logging
import resource
from pathlib import Path

import pytest
import torch
from torch import nn

from bucolic.base.errors import TransientError
from bucolic.training import state
from bucolic.training.optimiser import optimisers
from bucolic.training.state import (
    PhaseState,
    optimiser_tensors,
    read_checkpoint,
    restore_optimisers,
    write_checkpoint,
)


def test_a_checkpoint_comes_back_to_the_last_bit(tmp_path: Path):
    """Tensors, counters, curves and running sums come back as they were."""
    progress = PhaseState(
        320, 0.1 + 0.2, [{"phase": "prior", "val_loss": 1 / 3}], {"loss": 2 / 3}, 5
    )
    weights = {"a.weight": torch.randn(3, 4), "a.bias": torch.randn(3)}

    write_checkpoint(
        tmp_path, "prior", progress, {"weights": weights, "best": {"x": torch.ones(1)}}
    )
    found = read_checkpoint(tmp_path, "prior")

    assert found is not None
    assert found[0] == progress
    assert sorted(found[1]) == ["best", "weights"]
    assert all(torch.equal(tensor, found[1]["weights"][name]) for name, tensor in weights.items())


def test_the_last_two_checkpoints_of_a_phase_are_kept(tmp_path: Path):
    """Older files of the same phase go, other phases' stay."""
    write_checkpoint(tmp_path, "autoencoder", PhaseState(64), {"weights": {"x": torch.ones(1)}})
    for seen in (64, 128, 192, 1_000_000):
        write_checkpoint(tmp_path, "prior", PhaseState(seen), {"weights": {"x": torch.ones(1)}})

    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "autoencoder-000000000064.safetensors",
        "prior-000000000192.safetensors",
        "prior-000001000000.safetensors",
    ]


def test_a_damaged_checkpoint_costs_one_interval(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    """The one before a cut file is used, and the file is named."""
    for seen in (64, 128):
        write_checkpoint(tmp_path, "prior", PhaseState(seen), {"weights": {"x": torch.ones(9)}})
    newest = tmp_path / "prior-000000000128.safetensors"
    newest.write_bytes(newest.read_bytes()[:-8])

    with caplog.at_level(logging.WARNING):
        found = read_checkpoint(tmp_path, "prior")

    assert found is not None
    assert found[0].images_seen == 64
    assert newest.name in caplog.text


def test_no_checkpoint_means_a_fresh_start(tmp_path: Path):
    """An empty or missing folder holds nothing."""
    assert read_checkpoint(tmp_path, "prior") is None
    assert read_checkpoint(tmp_path / "none", "prior") is None


def test_restored_optimisers_take_the_same_step():
    """Two networks with the same weights and optimisers' states stay equal after another step."""
    torch.manual_seed(0)
    networks = [
        nn.Sequential(nn.Conv2d(32, 32, 3), nn.Conv2d(32, 1, 1)).to(
            memory_format=torch.channels_last  # as models are placed
        )
        for _ in range(2)
    ]
    pairs = [optimisers(network, muon=True, beta2=0.9, weight_decay=0.1) for network in networks]
    _step(networks[0], pairs[0], torch.randn(5, 32, 6, 6))

    networks[1].load_state_dict(networks[0].state_dict())
    restore_optimisers(pairs[1], optimiser_tensors(pairs[0]))
    batch = torch.randn(5, 32, 6, 6)
    for network, pair in zip(networks, pairs, strict=True):
        _step(network, pair, batch)

    assert len(pairs[0]) == 2
    for one, other in zip(*(network.parameters() for network in networks), strict=True):
        assert torch.equal(one, other)


def _step(network: nn.Module, pair: list[torch.optim.Optimizer], batch: torch.Tensor) -> None:
    network.zero_grad()
    network(batch).square().sum().backward()
    for optimiser in pair:
        optimiser.step()


def test_means_cover_the_steps_since_the_last_validation():
    """Taking the means empties the sums."""
    progress = PhaseState()
    progress.add({"loss": 1.0})
    progress.add({"loss": 2.0})

    assert progress.take_means() == {"step_loss": 1.5}
    progress.add({"loss": 5.0})
    assert progress.take_means() == {"step_loss": 5.0}


def test_a_checkpoint_that_cannot_be_read_for_now_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is whole on another day is not passed over: training ends for now."""
    write_checkpoint(tmp_path, "prior", PhaseState(64), {"weights": {"x": torch.ones(9)}})
    paths = sorted(tmp_path.iterdir())
    monkeypatch.setattr(state, "_checkpoints", lambda *_: paths)  # listing needs a file number
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        with pytest.raises(TransientError, match=f"too many open files at {paths[0]}: raise"):
            read_checkpoint(tmp_path, "prior")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_a_phase_whose_name_begins_with_anothers_keeps_its_own(tmp_path: Path):
    """Checkpoints of prior and prior-fine lie side by side; neither is taken for the other's."""
    for phase, seen in (("prior", 8), ("prior-fine", 96), ("prior-fine", 128), ("prior", 16)):
        write_checkpoint(tmp_path, phase, PhaseState(seen), {"weights": {"x": torch.ones(1)}})
    for phase, seen in (("prior", 16), ("prior-fine", 128)):
        found = read_checkpoint(tmp_path, phase)
        assert found is not None
        assert seen == found[0].images_seen
    assert 4 == len(list(tmp_path.glob("*.safetensors")))

"""The optimisers: who holds what, and how large Muon's steps are."""

import pytest
import torch
from torch import nn

from bucolic.models.layers import ResidualBlock
from bucolic.training.optimiser import Muon, is_large_matrix, optimisers, orthogonalised


@pytest.mark.parametrize("shape", [(96, 864), (864, 96), (64, 64)])
def test_directions_are_kept_and_become_equally_long(shape: tuple[int, int]):
    """Singular values that lie a power of ten apart come to about 1, the vectors stay."""
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.logspace(0, -1, min(shape))
    matrix = u @ torch.diag(values) @ v

    found = orthogonalised(matrix[None])[0]

    lengths = (u.mT @ found @ v.mT).diagonal()
    assert lengths.min() > 0.65
    assert lengths.max() < 1.25
    off = u.mT @ found @ v.mT - torch.diag(lengths)
    assert off.abs().max() < 1e-3


def test_matrices_beside_one_another_do_not_mix():
    """A matrix gives the same alone and in company."""
    torch.manual_seed(0)
    matrices = torch.randn(3, 40, 90)

    together = orthogonalised(matrices)

    for matrix, found in zip(matrices, together, strict=True):
        torch.testing.assert_close(orthogonalised(matrix[None])[0], found, atol=1e-5, rtol=1e-5)


def test_each_parameter_has_one_optimiser():
    """Large matrices and kernels are Muon's; the rest is AdamW's, vectors without decay."""
    network = nn.Sequential(nn.Conv2d(3, 48, 1), ResidualBlock(48, 32), nn.Conv2d(48, 3, 3))
    names = {id(p): name for name, p in network.named_parameters()}

    adamw, muon = optimisers(network, muon=True, beta2=0.99, weight_decay=0.01)

    held = [names[id(p)] for o in (adamw, muon) for g in o.param_groups for p in g["params"]]
    assert sorted(held) == sorted(names.values())
    of_muon = {names[id(p)] for p in muon.param_groups[0]["params"]}
    assert of_muon == {"1.first.weight", "1.second.weight", "1.film.project.weight"}
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.01, 0.0]
    assert all(p.ndim == 1 for p in adamw.param_groups[1]["params"])


def test_without_muon_all_parameters_are_adamws():
    """One optimiser holds everything, with the study's second moment."""
    network = ResidualBlock(48)

    (adamw,) = optimisers(network, muon=False, beta2=0.9, weight_decay=0.0)

    assert isinstance(adamw, torch.optim.AdamW)
    assert sum(len(group["params"]) for group in adamw.param_groups) == len([*network.parameters()])
    assert adamw.param_groups[0]["betas"] == (0.9, 0.9)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_a_step_has_adamws_size_whatever_the_gradient(scale: float):
    """The root mean square of a first step is about a fifth of the learning rate."""
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.zeros(48, 96, 3, 3))
    kernel.grad = scale * torch.randn(kernel.shape)

    Muon([kernel], lr=0.01).step()

    rms = kernel.detach().square().mean().sqrt().item()
    assert rms == pytest.approx(0.2 * 0.01, rel=0.25)
    assert (kernel.detach() * kernel.grad).sum() < 0


def test_the_layout_in_memory_does_not_enter():
    """A kernel with its channels last takes the step of one with its columns last."""
    torch.manual_seed(0)
    plain = nn.Parameter(torch.randn(32, 40, 3, 3))
    last = nn.Parameter(plain.detach().clone(memory_format=torch.channels_last))
    gradient = torch.randn(plain.shape)
    plain.grad = gradient.clone()
    last.grad = gradient.clone(memory_format=torch.channels_last)

    Muon([plain], lr=0.1, weight_decay=0.1).step()
    Muon([last], lr=0.1, weight_decay=0.1).step()

    torch.testing.assert_close(plain, last, atol=1e-5, rtol=1e-5)


def test_what_has_no_gradient_stays():
    """A matrix that took no part in the loss is left alone, decay and all."""
    used, unused = (nn.Parameter(torch.ones(32, 32)) for _ in range(2))
    used.grad = torch.eye(32)

    Muon([used, unused], lr=0.1, weight_decay=0.5).step()

    assert torch.equal(unused.detach(), torch.ones(32, 32))
    assert not torch.equal(used.detach(), torch.ones(32, 32))


def test_decay_is_of_the_weights_alone():
    """With no gradient's worth of momentum a kernel shrinks by rate times decay."""
    kernel = nn.Parameter(torch.ones(32, 32, 1, 1))
    kernel.grad = torch.zeros_like(kernel)

    Muon([kernel], lr=0.1, weight_decay=0.5).step()

    torch.testing.assert_close(kernel.detach(), torch.full((32, 32, 1, 1), 0.95))


def test_a_large_matrix_has_two_long_sides():
    """What has few rows or few columns, or is no matrix, is left to AdamW."""
    shapes = {
        (48, 8, 1, 1): False,
        (3, 48, 3, 3): False,
        (16, 64): False,
        (64,): False,
        (1, 64, 64): False,
        (64, 64): True,
        (48, 8, 3, 3): True,
    }
    assert {shape: is_large_matrix(torch.zeros(shape)) for shape in shapes} == shapes

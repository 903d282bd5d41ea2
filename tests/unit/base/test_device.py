"""Which device is used."""

import pytest
import torch

from bucolic.base.device import choose_device, choose_precision, products_in
from bucolic.base.errors import ParamsError


@pytest.fixture
def two_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two NVIDIA devices, as far as torch says."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a card")


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor and nothing else."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.mark.parametrize("name", ["cpu", "cpu:0", "cuda", "cuda:0", "cuda:1"])
def test_a_device_that_is_there_is_taken(two_cards: None, name: str):
    """By kind, or by kind and number; torch's own object is taken as well."""
    assert choose_device(name) == choose_device(torch.device(name)) == name  # type: ignore[arg-type]


def test_auto_takes_the_best(two_cards: None, monkeypatch: pytest.MonkeyPatch):
    """An NVIDIA device where there is one, unless BUCOLIC_DEVICE says otherwise."""
    assert choose_device() == "cuda"
    monkeypatch.setenv("BUCOLIC_DEVICE", "cpu")
    assert choose_device() == "cpu"


@pytest.mark.parametrize("name", ["cuda:2", "cuda:x", "cuda:", "cuda:01", "cuda:-1", "tpu"])
def test_a_device_that_is_not_there_is_refused(
    two_cards: None, monkeypatch: pytest.MonkeyPatch, name: str
):
    """One line names what was asked for and what there is, wherever it was asked for."""
    said = rf"device '{name}' is not there: choose auto or one of \['cuda', 'cuda:0', 'cuda:1', "
    with pytest.raises(ParamsError, match=said):
        choose_device(name)
    monkeypatch.setenv("BUCOLIC_DEVICE", name)
    with pytest.raises(ParamsError, match=said):
        choose_device()


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "cuda:7", "mps", "cpu:x", "cpu:1", "CPU", None])
def test_without_a_card_only_the_processor_is_there(no_card: None, name: str):
    """`cpu:x` would otherwise reach torch, which ends in a traceback."""
    with pytest.raises(ParamsError, match=r"choose auto or one of \['cpu', 'cpu:0'\]$"):
        choose_device(name)


@pytest.mark.parametrize(
    ("device", "tensor_cores", "tiles", "precision"),
    [
        ("cuda:1", True, False, "bf16"),
        ("cuda", False, True, "fp32"),
        ("cpu", True, True, "bf16"),
        ("cpu", True, False, "fp32"),
        ("mps", True, True, "fp32"),
    ],
)
def test_auto_precision_is_bf16_where_that_is_native(
    monkeypatch: pytest.MonkeyPatch, device: str, tensor_cores: bool, tiles: bool, precision: str
):
    """By the device that computes, whatever else the machine has; what is asked for is taken."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: tensor_cores)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": tiles})
    assert precision == choose_precision("auto", device)
    assert ["fp32", "bf16"] == [choose_precision(asked, device) for asked in ("fp32", "bf16")]


def test_tf32_is_taken_where_it_is_asked_for_on_cuda_alone():
    """Elsewhere the record says what was computed: fp32."""
    found = [choose_precision("tf32", device) for device in ("cuda", "cuda:1", "cpu", "mps")]
    assert found == ["tf32", "tf32", "fp32", "fp32"]


@pytest.mark.parametrize(
    ("precision", "allowed"), [("fp32", False), ("bf16", False), ("tf32", True)]
)
def test_products_of_float32_are_cut_only_where_tf32_is_asked_for(precision: str, *, allowed: bool):
    """For convolutions, which torch would cut by itself, and matrices; and as before after."""
    places = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [place.allow_tf32 for place in places]
    with products_in(precision):
        assert [place.allow_tf32 for place in places] == [allowed, allowed]
    assert [place.allow_tf32 for place in places] == before

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from bucolic.base.errors import DataError
from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
from bucolic.models.cvae.model import Cvae
from bucolic.models.store import read_model, write_model

CONTENT: dict[str, Any] = {
    "sampling": {"guidance": 2.0, "steps": 8},
    "clip": {"model": "x"},
    "clip_config": {"model": "x"},
}
CURVES = [{"phase": "prior", "images_seen": 64, "val_loss": 0.5}]


@pytest.fixture
def model() -> Cvae:
    """A small model, not trained."""
    torch.manual_seed(0)
    return Cvae(
        AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16), size_px=32, embed_dim=12
    )


def test_a_model_comes_back_as_it_was_written(tmp_path: Path, model: Cvae):
    """Every tensor, the statistics included, and the config come back."""
    model.prior.set_statistics(torch.randn(9, 4, 4, 4))
    write_model(tmp_path / "current", model, CONTENT, CURVES)

    read, config = read_model(tmp_path / "current", "cpu")

    tensors = read.state_dict()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in model.state_dict().items())
    assert config["sampling"] == CONTENT["sampling"]
    assert (config["version"], config["size_px"], config["embed_dim"]) == (4, 32, 12)
    assert json.loads((tmp_path / "current/curves.jsonl").read_text()) == CURVES[0]


@pytest.mark.parametrize("rung", ["none", "mlp", "flow"])
def test_the_text_prior_comes_back_with_the_model(tmp_path: Path, rung: str):
    """Which rung it is, its weights, and how many embeddings it draws."""
    torch.manual_seed(0)
    draws = 3 if rung == "flow" else 0
    shapes = AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16)
    model = Cvae(*shapes, "flow", rung, draws, size_px=32, embed_dim=12)
    for parameter in model.conditioning.parameters():
        torch.nn.init.normal_(parameter)
    write_model(tmp_path / "current", model, CONTENT, CURVES)

    read, _ = read_model(tmp_path / "current", "cpu")

    vectors = torch.randn(5, 12).numpy()
    for seeds in ((), range(5)):
        assert torch.equal(
            read.conditions_of_texts(vectors, seeds), model.conditions_of_texts(vectors, seeds)
        )
    assert read.conditioning.text_draws == draws


def test_memory_layout_leaves_no_trace_in_the_bytes(tmp_path: Path, model: Cvae):
    """The same weights give the same bytes, in whatever memory format they are kept."""
    write_model(tmp_path / "a", model, CONTENT, CURVES)
    write_model(tmp_path / "b", model.to(memory_format=torch.channels_last), CONTENT, CURVES)

    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_a_foreign_version_is_refused(tmp_path: Path, model: Cvae):
    """A config of another version is named with both versions."""
    write_model(tmp_path, model, CONTENT, CURVES)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"version": 7}))

    with pytest.raises(DataError, match="version 7, this package reads 4"):
        read_model(tmp_path, "cpu")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_missing_and_broken_files_are_named(tmp_path: Path, model: Cvae, name: str):
    """A missing or cut file gives one line that names it."""
    write_model(tmp_path, model, CONTENT, CURVES)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match=name):
        read_model(tmp_path, "cpu")

    path.unlink()

    with pytest.raises(DataError, match="missing"):
        read_model(tmp_path, "cpu")


@pytest.mark.parametrize("content", [b"[]", b"7", b"\xff\xfe", b"null"])
def test_a_config_that_is_no_object_is_refused(tmp_path: Path, content: bytes):
    """Other JSON, and what is no JSON, give one line that names the file."""
    (tmp_path / "config.json").write_bytes(content)

    with pytest.raises(DataError, match=r"config\.json (holds no|is not valid) JSON") as caught:
        read_model(tmp_path, "cpu")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["nothing", "file", "file/below", "null\0byte"])
def test_a_folder_that_is_none_is_refused(tmp_path: Path, place: str):
    """A missing folder, a file in its place, or what can be no folder."""
    (tmp_path / "file").write_text("no model")

    with pytest.raises(DataError, match="is missing or no folder: run the train stage"):
        read_model(tmp_path / place, "cpu")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, model: Cvae):
    """A folder in the weights' place is one line."""
    write_model(tmp_path, model, CONTENT, CURVES)
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "model.safetensors").mkdir()

    with pytest.raises(DataError, match=r"model\.safetensors cannot be read"):
        read_model(tmp_path, "cpu")


def test_reading_leaves_torchs_random_state_alone(tmp_path: Path, model: Cvae):
    """No first weights are drawn only to be written over."""
    write_model(tmp_path, model, CONTENT, CURVES)
    before = torch.get_rng_state()

    read_model(tmp_path, "cpu")

    assert torch.equal(before, torch.get_rng_state())


def test_weights_of_another_shape_are_refused(tmp_path: Path, model: Cvae):
    """Weights that do not fit the config's shapes are refused in one line."""
    write_model(tmp_path, model, CONTENT, CURVES)
    config = json.loads((tmp_path / "config.json").read_text())
    config["prior"]["width"] = 64
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(DataError, match="does not fit") as caught:
        read_model(tmp_path, "cpu")
    assert "\n" not in str(caught.value)


def test_a_name_that_no_file_can_have_is_one_line(tmp_path: Path):
    """Longer than the file system takes, or with a line end in it."""
    for name in ("x" * 5000, "a\nb"):
        with pytest.raises(DataError, match="is missing or no folder") as raised:
            read_model(tmp_path / name, "cpu")
        assert 1 == len(str(raised.value).splitlines())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampling": None}, "sampling: Input should be an object"),
        ({"sampling": [1]}, "sampling: Input should be an object"),
        ({"sampling": {"guidance": 2.0}}, "sampling.steps: Field required"),
        ({"sampling": {"guidance": 2.0, "steps": 2, "eta": 1}}, "sampling.eta: Extra inputs"),
        (
            {"sampling": {"guidance": -1.0, "steps": 2}},
            "sampling.guidance: Input should be",
        ),
        ({"clip": None}, "clip: Input should be an object"),
        ({"clip_config": "meadow-clip"}, "clip_config: Input should be an object"),
        ({"clip_config": {"foo": 1}}, "clip_config.model: Field required"),
        ({"data": [1]}, "data: Input should be an object"),
        ({"size_px": 60}, "size_px is no multiple of"),
        ({"size_px": 0}, "size_px: Input should be greater than 0"),
        ({"size_px": 32.5}, "size_px: Input should be a valid integer"),
    ],
)
def test_a_config_that_was_changed_by_hand_is_told_in_one_line(
    tmp_path: Path, model: Cvae, changes: dict[str, Any], said: str
):
    """Every key that something later reads is looked at when the model is."""
    write_model(tmp_path, model, CONTENT, CURVES)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(DataError) as caught:
        read_model(tmp_path, "cpu")
    assert said in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path, model: Cvae):
    """They would draw pictures of nothing, or blame the guidance."""
    with torch.no_grad():
        model.autoencoder.decoder.stem.weight[0] = float("nan")
    write_model(tmp_path, model, CONTENT, CURVES)
    with pytest.raises(DataError, match=r"decoder.stem.weight holds what is no finite number"):
        read_model(tmp_path, "cpu")

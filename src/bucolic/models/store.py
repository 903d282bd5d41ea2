"""models/current/: a trained model on disk, version 4.

- model.safetensors: every tensor of the `Model` under its own name: the networks' weights, averaged
  where its kind averages, the embeddings' means, the text prior, the likelihood's sigma. Nothing is
  unpickled.
- config.json: version; clip, the provenance of the embeddings it was trained on; clip_config, what
  loads those towers; kind, where it is not the default; size_px; embed_dim; the shapes of its
  networks; sampling, the guidance and steps chosen on val; training, how much it has seen; data,
  the digest of the train split.
- curves.jsonl: train and held-out values side by side, one line for each validation.
"""

import json
import os
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field, PositiveInt, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from bucolic.base.errors import DataError, ParamsError
from bucolic.base.files import write_json, write_text
from bucolic.base.loading import loaded
from bucolic.base.section import Section
from bucolic.models.config import CONFIG_FILE, CURVES_FILE, DEFAULT_KIND, WEIGHTS_FILE, ModelConfig
from bucolic.models.kinds import Kind, kind_named
from bucolic.models.model import Model

VERSION = 4


class _Sampling(Section):
    guidance: float = Field(ge=0)
    steps: PositiveInt


class _Loaded(Section):
    model_config = ConfigDict(extra="ignore")

    model: str


class _Description(Section):
    """What config.json must hold of every model, beside the shapes of its kind."""

    model_config = ConfigDict(extra="ignore")

    size_px: PositiveInt
    embed_dim: PositiveInt
    clip: dict[str, Any]
    clip_config: _Loaded
    sampling: _Sampling
    data: dict[str, str] = Field(default_factory=dict)


def write_model(
    folder: Path,
    model: Model,
    content: Mapping[str, Any],
    curves: Sequence[Mapping[str, Any]],
    *,
    kind: str = DEFAULT_KIND,
) -> None:
    """Write a trained model into a folder.

    Args:
        folder: made if it is not there.
        model: on any device.
        content: what config.json holds besides the version and the model's shapes.
        curves: lines of curves.jsonl.
        kind: of the model.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(_weights(model))
    named = {} if kind == DEFAULT_KIND else {"kind": kind}
    write_json(folder / CONFIG_FILE, {"version": VERSION} | named | model.shapes | dict(content))
    lines = [json.dumps(row, sort_keys=True, allow_nan=False) for row in curves]
    write_text(folder / CURVES_FILE, "".join(f"{line}\n" for line in lines))


def read_model(folder: Path, device: str) -> tuple[Model, dict[str, Any]]:
    """Read a model and its config.json.

    Raises:
        DataError: a file is missing, broken, of another version, or the two do not fit.
    """
    model, config = _empty(folder)
    weights = folder / WEIGHTS_FILE
    try:
        model.to_empty(device="cpu").load_state_dict(load_file(weights, device="cpu"))
    except FileNotFoundError:
        raise DataError(f"{weights} is missing: run the train stage (dvc repro train)") from None
    except OSError as error:
        raise DataError(f"{weights} cannot be read: {error}") from None
    except (SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{weights} does not fit {CONFIG_FILE} ({_line(error)}): train again"
        ) from None
    _require_numbers(model, weights)
    return model.placed(device).eval(), config


def _require_numbers(model: Model, weights: Path) -> None:
    tensors = model.state_dict().items()
    strange = [name for name, t in tensors if t.is_floating_point() and not t.isfinite().all()]
    if strange:
        raise DataError(f"{weights}: {strange[0]} holds what is no finite number: train again")


def weights_digest(model: Model) -> str:
    """SHA-256 of the model.safetensors that holds these weights."""
    return sha256(_weights(model)).hexdigest()


def _weights(model: Model) -> bytes:
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    return save(tensors)


def require_readable(folder: Path) -> None:
    """Refuse a model that this code could not build again; its weights are not read.

    Raises:
        DataError: config.json is missing or broken, or of another version, kind or shape.
    """
    _empty(folder)


def _empty(folder: Path) -> tuple[Model, dict[str, Any]]:
    """The model that config.json describes, without weights, and the content of config.json."""
    if not os.path.isdir(folder):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        raise DataError(f"{folder} is missing or no folder: run the train stage (dvc repro train)")
    config = _read_config(folder / CONFIG_FILE)
    try:
        kind = kind_named(config.get("kind", DEFAULT_KIND))
        _require_described(folder / CONFIG_FILE, config)
        with torch.device("meta"):  # no first weights, which would be drawn from torch's own state
            return _built(kind, config), config
    except ParamsError as error:
        raise DataError(f"{folder / CONFIG_FILE}: {error}: train again") from None
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"{folder / CONFIG_FILE} describes no model that this package knows ({_line(error)}): "
            "train again"
        ) from None


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:160]


def _require_described(path: Path, config: Mapping[str, Any]) -> None:
    try:
        _Description.model_validate_json(json.dumps(config))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise DataError(f"{path}: {where}: {problem['msg']}: train again") from None


def _built(kind: Kind, config: Mapping[str, Any]) -> Model:
    """An untrained model of a kind, of the shapes that config.json names."""
    if config["size_px"] % kind.side_multiple_px:
        raise ValueError(f"size_px is no multiple of {kind.side_multiple_px}")
    section: type[ModelConfig] = loaded(kind.config)
    fields = section.model_fields.keys() - {"kind"}
    shapes = {name: value for name, value in config.items() if name in fields}
    model: Model = loaded(kind.build)(
        # By way of JSON: strict pydantic makes dataclasses of objects there.
        section.model_validate_json(json.dumps(shapes)),
        size_px=config["size_px"],
        embed_dim=config["embed_dim"],
    )
    return model


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the train stage (dvc repro train)") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}") from None
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}): train again") from None
    if not isinstance(config, dict):
        raise DataError(f"{path} holds no JSON object: train again")
    if (found := config.get("version")) != VERSION:
        raise DataError(f"{path} has version {found}, this package reads {VERSION}: train again")
    return config

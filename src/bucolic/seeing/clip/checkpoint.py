"""Which weights a `clip` section means, their digest, and why they could not be had."""

import hashlib
from pathlib import Path
from typing import Any

import open_clip
from huggingface_hub.errors import LocalEntryNotFoundError

from bucolic.base.errors import (
    BucolicError,
    ParamsError,
    TransientError,
    as_transient,
    causes,
    is_outage,
)
from bucolic.base.files import file_digest
from bucolic.base.places import find_root
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import SHIPPED


def weights_of(config: ClipConfig) -> str:
    """What open_clip takes as `pretrained`: a tag of its own, or a local file.

    Raises:
        ParamsError: no weights named for a model whose weights do not ship in the package.
    """
    if shipped := SHIPPED.get(config.model):
        return str(shipped.weights)
    if config.pretrained is None:
        tags = open_clip.list_pretrained_tags_by_model(config.model)
        raise ParamsError(f"clip.pretrained: {config.model} needs one of {tags} or a weights file")
    return str(_found(config.pretrained) or config.pretrained)


def _found(named: str) -> Path | None:
    """A weights file, named from here or from the project's root; None for a hub's tag."""
    if Path(named).is_file():
        return Path(named)
    try:
        path = find_root(Path.cwd()) / named
    except ParamsError:
        return None  # a model may also be used outside a project
    return path if path.is_file() else None


def weights_digest(config: ClipConfig, model: Any) -> str:
    """sha256 of the weights file; of the tensors of `model` where a tag names them on a hub.

    Raises:
        ParamsError: the file's content is not the one that params.yaml states.
    """
    path = Path(weights_of(config))
    if path.is_file():
        return _file_digest(path, config)
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _file_digest(path: Path, config: ClipConfig) -> str:
    digest = file_digest(path)
    # DVC sees params and not this file: with its digest among them, other weights rerun the stage.
    if config.model not in SHIPPED and config.pretrained_sha256 != digest:
        raise ParamsError(f"clip.pretrained_sha256: to use {path} as it is now, set it to {digest}")
    return digest


def loading_error(config: ClipConfig, error: Exception) -> BucolicError:
    """What to tell the user whose weights open_clip could not load.

    Returns:
        A TransientError where a hub could not be reached, whatever open_clip made of that on its
        way up; a ParamsError otherwise.
    """
    asked = f"clip: {config.model} with {weights_of(config)}"
    if short := next(filter(None, map(as_transient, causes(error))), None):
        return short
    if _is_away(error):
        return TransientError(f"{asked}: its hub cannot be reached now; run the same command again")
    reason = str(error).strip().splitlines()[0][:160]
    return ParamsError(f"{asked} cannot be loaded: {reason}")


def _is_away(error: BaseException) -> bool:
    """An outage, or what huggingface_hub makes of one: it cannot look for what is not on disk."""
    return is_outage(error) or any(isinstance(e, LocalEntryNotFoundError) for e in causes(error))

"""The `clip` section: which CLIP embeds images, captions and prompts."""

from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field

from bucolic.base.errors import ParamsError
from bucolic.base.section import Precision, Section
from bucolic.seeing.clip.shipped import MEADOW_CLIP, SHIPPED

ELSEWHERE = ("hf-hub:", "local-dir:")  # a model that brings its own configuration


class ClipConfig(Section):
    """Which towers, and how they compute.

    Attributes:
        model: "meadow-clip", or an open_clip architecture such as "ViT-B-32".
        pretrained: open_clip's tag of the weights ("laion2b_s34b_b79k") or a local file, which an
            open_clip model needs; not looked at where the weights ship in the package.
        pretrained_sha256: digest of that local file: DVC sees a change of weights by it.
        precision: arithmetic of the towers, "fp32", "bf16", or "auto": bf16 where that is native.
            Vectors are stored as float32 either way, and embed refuses a CLIP whose bf16 vectors
            turn away from those of fp32.
        allow_mismatch: use a CLIP that was trained on drawings on photographs all the same; its
            scores then mean little.
    """

    model: str = MEADOW_CLIP.name
    pretrained: str | None = None
    pretrained_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    precision: Precision = "fp32"
    allow_mismatch: bool = False


def require_known(config: ClipConfig, place: str = "clip") -> None:
    """Refuse, without importing open_clip, what it could load no towers for.

    Args:
        config: which CLIP.
        place: where params.yaml names it.

    Raises:
        ParamsError: no such architecture, or no weights named for one.
    """
    if config.model in SHIPPED or config.model.startswith(ELSEWHERE):
        return
    names = [*SHIPPED, *_architectures()]
    if config.model.replace("/", "-") not in names:
        near = get_close_matches(config.model, names, n=3) or [MEADOW_CLIP.name, "ViT-B-32"]
        raise ParamsError(
            f"{place}.model: {config.model} is none of open_clip's: {', '.join(near)}?"
        )
    if config.pretrained is None:
        raise ParamsError(
            f"{place}.pretrained: {config.model} needs a tag or a file of its weights"
        )


def _architectures() -> list[str]:
    """Names that open_clip has a configuration for, which are those of its files."""
    package = find_spec("open_clip")
    folders = (package and package.submodule_search_locations) or ()
    files = (path for folder in folders for path in Path(folder, "model_configs").glob("*.json"))
    return sorted(path.stem for path in files)

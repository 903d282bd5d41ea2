"""The `clip` section: which CLIP embeds images, captions and prompts."""

from typing import Literal

from pydantic import Field

from bucolic.base.section import Section

Precision = Literal["fp32", "bf16"]


class ClipConfig(Section):
    """Which towers, and how they compute.

    Attributes:
        model: "meadow-clip", or an open_clip architecture such as "ViT-B-32".
        pretrained: open_clip's tag of the weights ("laion2b_s34b_b79k") or a local file; not looked
            at for meadow-clip, whose weights ship in the package.
        pretrained_sha256: digest of that local file: DVC sees a change of weights by it.
        precision: arithmetic of the towers; vectors are stored as float32 either way.
        allow_mismatch: use a CLIP that was trained on drawings on photographs all the same; its
            scores then mean little.
    """

    model: str = "meadow-clip"
    pretrained: str | None = None
    pretrained_sha256: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    precision: Precision = "fp32"
    allow_mismatch: bool = False

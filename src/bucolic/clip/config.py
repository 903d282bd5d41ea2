"""The `clip` section: which CLIP embeds images, captions and prompts."""

from typing import Literal

from bucolic.config import Section

Precision = Literal["fp32", "bf16"]


class ClipConfig(Section):
    """Which towers, and how they compute.

    Attributes:
        model: "meadow-clip", or an open_clip architecture such as "ViT-B-32".
        pretrained: open_clip's tag of the weights ("laion2b_s34b_b79k") or a local file; not looked
            at for meadow-clip, whose weights ship in the package.
        precision: arithmetic of the towers; vectors are stored as float32 either way.
        allow_mismatch: use a CLIP that was trained on drawings on photographs all the same; its
            scores then mean little.
    """

    model: str = "meadow-clip"
    pretrained: str | None = None
    precision: Precision = "fp32"
    allow_mismatch: bool = False

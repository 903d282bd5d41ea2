"""A model that was never trained, small and quick, with the real meadow-clip before it."""

from functools import cache
from pathlib import Path
from typing import Any

import torch

from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
from bucolic.models.cvae.model import Cvae
from bucolic.models.store import write_model
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import load_towers

PROMPTS = (
    "a cow",
    "two white sheep standing on the snow in front of a red barn under a grey sky at night",
    "a brown horse beside a fence",
    "three black cows, " * 9,
)


def write_untrained(folder: Path) -> None:
    """Write a model folder whose networks hold noise, so that every input matters."""
    provenance = _provenance()
    width = provenance["embed_dim"]
    torch.manual_seed(0)
    shapes = AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16)
    model = Cvae(*shapes, size_px=32, embed_dim=width)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    content = {
        "clip": provenance,
        "clip_config": {"model": provenance["model"], "pretrained": None},
        "sampling": {"guidance": 2.0, "steps": 2},
    }
    write_model(folder, model, content, [])


@cache
def _provenance() -> dict[str, Any]:
    return load_towers(ClipConfig(), "cpu").provenance

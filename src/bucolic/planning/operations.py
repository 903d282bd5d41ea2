"""What a training step and CLIP's towers compute, as torch counts it, and how fast products are."""

import functools
import logging
import time
from typing import Any

import open_clip
import torch
from torch.utils.flop_counter import FlopCounterMode

from bucolic.base.loading import loaded
from bucolic.models.config import ModelConfig, TrainConfig
from bucolic.models.kinds import kind_named
from bucolic.models.phases import Moment, Phase, TrainingData
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import register
from bucolic.seeing.clip.towers import load_towers
from bucolic.training.build import chance_of
from bucolic.training.context import TrainingContext
from bucolic.training.distributed import World

MATRIX_SIDE = 1024
READINGS = 5
ROWS = 2  # of a counted step: more of them compute as much each


def phases_on_noise(
    model: ModelConfig,
    train: TrainConfig,
    *,
    size_px: int,
    embed_dim: int,
    device: str = "cpu",
    rows: int = 8,
) -> dict[str, Phase[Any]]:
    """The phases of a training over `rows` pictures of noise, whose shapes are those asked for."""
    kind = kind_named(model.kind)
    torch.manual_seed(0)
    network = loaded(kind.build)(model, size_px=size_px, embed_dim=embed_dim).placed(device)
    data = TrainingData(
        pictures=torch.randint(0, 256, (rows, 3, size_px, size_px), dtype=torch.uint8),
        image_conditions=torch.randn(rows, embed_dim),
        text_conditions=torch.randn(rows, embed_dim),
        text_starts=torch.arange(rows + 1),
    ).to(device)
    chance = chance_of(train, network.noise_shape)
    splits = {"train": data, "val": data}
    towers = functools.partial(load_towers, ClipConfig(), device)
    context = TrainingContext(network, splits, [""] * rows, chance, World(), train, towers)
    made = loaded(kind.plan)(model).phases
    return {name: make(context) for name, make in made.items()}


def step_flops(phase: Phase[Any], rows: int) -> int:
    """Operations of one step over `rows` pictures, forwards and backwards."""
    batch = phase.draw(0, rows)
    with FlopCounterMode(display=False) as counter:
        loss, _ = phase.objective(batch, Moment(1, 2))
        loss.backward()
    return int(counter.get_total_flops())


def flops_per_image(phase: Phase[Any]) -> float:
    """Operations of a step for each of its pictures."""
    return step_flops(phase, ROWS) / ROWS


def matrix_flop_per_s(device: str, precision: str, duration_s: float) -> float:
    """What products of square matrices reach in an arithmetic ("fp32", "bf16"...) on a device.

    The best of a few readings: whatever else the machine does slows one down, and speeds none up.
    """
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    pair = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE, device=device).to(dtype)
    return max(_flop_per_s(pair, device, duration_s / READINGS) for _ in range(READINGS))


def _flop_per_s(pair: torch.Tensor, device: str, duration_s: float) -> float:
    left, right = pair
    products, start_s = 0, now_s(device)
    while now_s(device) - start_s < duration_s:
        left @ right
        products += 1
    return products * 2 * MATRIX_SIDE**3 / (now_s(device) - start_s)


def now_s(device: str) -> float:
    """Seconds, once a device has nothing left to do."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def embed_dim(model: str) -> int:
    """Of a CLIP's embeddings; `model` is open_clip's name of it, or a shipped one's."""
    register()
    return int(open_clip.get_model_config(model)["embed_dim"])


def clip_flops(model: str, tokens: int) -> tuple[int, int]:
    """Operations of embedding a picture, and a text of so many tokens."""
    register()
    logging.disable(logging.WARNING)  # that no weights are loaded
    try:
        network = open_clip.create_model(model, device="meta", load_weights=False)
    finally:
        logging.disable(logging.NOTSET)
    side = network.visual.image_size
    height, width = (side, side) if isinstance(side, int) else side
    picture = torch.zeros(1, 3, height, width, device="meta")
    text = torch.zeros(1, network.context_length, dtype=torch.long, device="meta")
    share = min(1.0, tokens / network.context_length)
    image = _counted(network.encode_image, picture)
    return image, round(share * _counted(network.encode_text, text))


@torch.no_grad()
def _counted(encode: Any, batch: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        encode(batch)
    return int(counter.get_total_flops())

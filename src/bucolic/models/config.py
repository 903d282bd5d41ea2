"""The sections `model` and `train` of params.yaml, as far as all kinds of model share them.

A kind adds its shapes to the one; to the other, PHASE_images and PHASE_lr for each of its phases.
"""

from typing import Annotated, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bucolic.base.section import Section, TrainPrecision

DEFAULT_KIND = "cvae"
# In the folder of a trained model; see store.py.
CONFIG_FILE, CURVES_FILE, WEIGHTS_FILE = "config.json", "curves.jsonl", "model.safetensors"
Share = Annotated[float, Field(ge=0, le=1)]


def point_name(phase: str, name: str) -> str:
    """What a curve is called beside those of other phases: images seen begin anew in each."""
    return f"{phase}/{name}"


class ModelConfig(Section):
    """What is trained.

    Attributes:
        kind: which model is trained, and by which recipe; each has keys of its own.
    """

    kind: str = DEFAULT_KIND


class TrainConfig(Section):
    """How it is trained.

    Attributes:
        seed: seed of weights, batches and noise.
        precision: "fp32", "tf32" for float32 whose products a CUDA device computes with 10 bits of
            mantissa, "bf16" for autocast, or "auto": bf16 where that is native, else fp32.
        compiled: whether torch.compile makes kernels for a step; it needs a C compiler, and pays
            where a device waits for its next kernel.
        batch_size: images in a step, over all processes.
        schedule: course of the learning rate: "cosine" after a linear warm-up, or "constant".
        optimiser: "muon" for large matrices and kernels, AdamW for the rest; or "adamw" for all.
        beta2: decay of AdamW's second moment.
        weight_decay: AdamW's decoupled decay of weights.
        gradient_norm: larger gradients are scaled down to this norm.
        averaged: keep a running average of the weights, and not the weights themselves.
        flip: mirror half of the pictures.
        condition_drop: share of rows trained without a condition, which guidance needs.
        text_share: share of rows conditioned on a caption, mapped as a prompt will be, in place
            of the picture's own embedding.
        captions: how many of a picture's captions a batch is drawn from, by id; null: all.
        condition_noise: largest standard deviation of noise on a picture's own embedding, where a
            row is conditioned on it, in units of its values' size: without noise, an embedding may
            all but name its picture.
        validations: how often each phase is validated.
        guidances: candidates for the guidance, chosen from on val.
        steps: candidates for the number of sampling steps, chosen from on val.
        judged_prompts: val captions that the candidates are judged by.
    """

    seed: int = Field(default=0, ge=0)
    precision: TrainPrecision = "auto"
    compiled: bool = False
    batch_size: PositiveInt = 32
    schedule: Literal["cosine", "constant"] = "cosine"
    optimiser: Literal["muon", "adamw"] = "muon"
    beta2: float = Field(default=0.99, gt=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_norm: PositiveFloat = 1.0
    averaged: bool = True
    flip: bool = True
    condition_drop: Share = 0.1
    text_share: Share = 0.5
    captions: PositiveInt | None = None
    condition_noise: float = Field(default=0.0, ge=0)
    validations: PositiveInt = 10
    guidances: tuple[PositiveFloat, ...] = Field(default=(1.0, 1.5, 2.0, 3.0, 4.0), min_length=1)
    steps: tuple[PositiveInt, ...] = Field(default=(4, 8, 16), min_length=1)
    judged_prompts: PositiveInt = 128

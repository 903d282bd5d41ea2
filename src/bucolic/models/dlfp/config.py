"""The original study's CVAE in params.yaml; without torch.

Its settings are the defaults. Keys of `train` that only the cvae reads are accepted, and training
names those that it ignores; a rate or a batch that stays there goes before the study's.
"""

from typing import Literal

from pydantic import Field, PositiveFloat

from bucolic.base.section import TrainPrecision
from bucolic.models.config import ModelConfig, Share
from bucolic.models.cvae.config import CvaeTrainConfig

SIDES_PX = (64, 128)


class DlfpConfig(ModelConfig):
    """What the study varied of the network.

    Attributes:
        dropout: share of the latent's values that training sets to zero; 0 or 0.3 in the study.
    """

    dropout: float = Field(default=0.0, ge=0, lt=1)


class DlfpTrainConfig(CvaeTrainConfig):
    """The study's recipe: Adam at a constant rate, the weights themselves and not their average.

    Attributes:
        autoencoder_images: budget of the only phase, in training images seen; the study ran 10
            to 25 epochs.
        autoencoder_lr: learning rate of the only phase.
        batch_size: images in a step, over all processes; its BatchNorm needs two.
        gradient_norm: larger gradients are scaled down to this norm, which none has.
        text_share: 0 conditions on the picture's own embedding, 1 on captions.
        captions: how many of a picture's captions a batch is drawn from, by id; the study's "one
            text" is 1, its "five texts" 5; null: all.
    """

    batch_size: int = Field(default=16, ge=2)
    autoencoder_lr: PositiveFloat = 5e-4
    schedule: Literal["cosine", "constant"] = "constant"
    optimiser: Literal["muon", "adamw"] = "adamw"
    beta2: float = Field(default=0.999, gt=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_norm: PositiveFloat = 1e9
    flip: bool = False
    averaged: bool = False
    precision: TrainPrecision = "fp32"
    text_share: Share = 0.0

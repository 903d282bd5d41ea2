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
        autoencoder_images: budget of the only phase; the study's 10 to 25 epochs.
        text_share: 0 conditions on the picture's own embedding, 1 on captions.
        captions: how many of a picture's captions; the study's "one text" is 1, its "five texts" 5.
    """

    batch_size: int = Field(default=16, ge=2)  # BatchNorm needs two
    autoencoder_lr: PositiveFloat = 5e-4
    schedule: Literal["cosine", "constant"] = "constant"
    optimiser: Literal["muon", "adamw"] = "adamw"
    beta2: float = Field(default=0.999, gt=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_norm: PositiveFloat = 1e9  # no gradient is scaled down
    flip: bool = False
    averaged: bool = False
    precision: TrainPrecision = "fp32"
    text_share: Share = 0.0

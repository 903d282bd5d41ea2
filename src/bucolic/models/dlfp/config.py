"""The original study's CVAE in params.yaml; without torch.

Its settings are the defaults. Keys of `train` that only the cvae reads are accepted, so that
`model: {kind: dlfp}` is the one line that changes; training names those that it ignores.
"""

from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bucolic.models.config import ModelConfig, Share
from bucolic.models.cvae.config import CvaeTrainConfig

SIDES_PX = (64, 128)


class DlfpConfig(ModelConfig):
    """What the study varied of the network.

    Attributes:
        dropout: share of the latent's values that training sets to zero; 0 or 0.3 in the study.
    """

    dropout: Share = 0.0


class DlfpTrainConfig(CvaeTrainConfig):
    """The study's recipe: Adam at a constant rate, the weights themselves and not their average.

    Attributes:
        autoencoder_images: budget of the only phase; the study's 10 to 25 epochs.
        text_share: 0 conditions on the picture's own embedding, 1 on captions.
        captions: how many of a picture's captions; the study's "one text" is 1, its "five texts" 5.
    """

    batch_size: PositiveInt = 16
    autoencoder_lr: PositiveFloat = 5e-4
    schedule: Literal["cosine", "constant"] = "constant"
    beta2: float = Field(default=0.999, gt=0, lt=1)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_norm: PositiveFloat = 1e9  # no gradient is scaled down
    flip: bool = False
    averaged: bool = False
    text_share: Share = 0.0

"""The CVAE in params.yaml: shapes of its two networks, budgets of its two phases; without torch.

The classes are frozen standard dataclasses. As fields of a pydantic section they are validated
like one: `__pydantic_config__` refuses unknown keys and values of another type.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from bucolic.models.config import ModelConfig, TrainConfig

STRICT = {"extra": "forbid", "strict": True}
PATCH_PX = 4  # side of the patch that becomes one position of the first feature map
DOWNSCALE = 8  # picture side over latent side
SPREAD = ("ridge", "flow")  # text priors that can draw


@dataclass(frozen=True)
class AutoencoderConfig:
    """Shape of q(z|x) and p(x|z,c).

    Attributes:
        latent_channels: channels of the latent picture, whose side is an eighth of the picture's.
        width: channels of the feature maps at a quarter of the side; an eighth has twice as many.
        encoder_blocks: residual blocks at each of the two resolutions of the encoder.
        decoder_blocks: residual blocks at each of the two resolutions of the decoder.
        condition_width: width of the hidden layer that turns the embedding into scales and shifts.
    """

    latent_channels: int = 8
    width: int = 48
    encoder_blocks: int = 1
    decoder_blocks: int = 2
    condition_width: int = 128

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    def __post_init__(self) -> None:
        _require_positive(self)


@dataclass(frozen=True)
class PriorConfig:
    """Shape of the velocity network of p(z|c).

    Attributes:
        width: channels of its feature maps, all at the latent side; a multiple of 32.
        blocks: residual blocks; self-attention follows the second of every four.
        condition_width: width of the joint embedding of time and condition.
    """

    width: int = 128
    blocks: int = 4
    condition_width: int = 256

    __pydantic_config__: ClassVar[dict[str, Any]] = STRICT

    def __post_init__(self) -> None:
        _require_positive(self)
        if self.width % 32:
            raise ValueError(f"width must be a multiple of 32, not {self.width}")


def _require_positive(config: AutoencoderConfig | PriorConfig) -> None:
    for field in fields(config):
        if getattr(config, field.name) < 1:
            raise ValueError(f"{field.name} must be at least 1, not {getattr(config, field.name)}")


class CvaeConfig(ModelConfig):
    """Shapes of the two networks.

    Attributes:
        autoencoder: shape of encoder and decoder.
        prior: shape of the network of p(z|c); a Gaussian one takes its condition_width alone.
        latent_prior: "flow", learned over the latents of a finished autoencoder, or "gaussian", the
            textbook's, trained together with it.
        text_prior: how a prompt's embedding becomes a picture's: "none" leaves it, "shift"
            exchanges the means, "ridge" is a linear map, "mlp" and "flow" are networks.
        text_draws: how many embeddings "ridge" or "flow" draw, the one most like the prompt being
            taken; 0 takes the expected one, as the others do.
    """

    latent_prior: Literal["flow", "gaussian"] = "flow"
    text_prior: Literal["none", "shift", "ridge", "mlp", "flow"] = "ridge"
    text_draws: NonNegativeInt = 0
    autoencoder: AutoencoderConfig = AutoencoderConfig()
    prior: PriorConfig = PriorConfig()

    @model_validator(mode="after")
    def _draws_where_there_is_a_spread(self) -> Self:
        if self.text_draws and self.text_prior not in SPREAD:
            raise ValueError(
                f"text_draws: {self.text_prior} draws nothing; one of {', '.join(SPREAD)} does"
            )
        return self


class CvaeTrainConfig(TrainConfig):
    """Budgets and rates of the two phases.

    Attributes:
        autoencoder_images: budget of the first phase, in training images seen.
        prior_images: budget of the second phase.
        autoencoder_lr: peak learning rate of the first phase.
        prior_lr: peak learning rate of the second phase.
        prior_batch_size: images in a step of the second phase, where they are not batch_size: the
            first one makes better use of many small steps, the second one hardly minds.
        detail_weight: weight of the Laplacian's squared error beside the pixels' in the first
            phase; 0 leaves the evidence lower bound alone, more makes a sharper decoder.
        alignment_weight: weight of the angle between the prior's features and CLIP's feature maps
            in the second phase; 0 leaves the flow's error alone, more makes it learn faster. The
            maps of all train pictures stay on the device: 32 kB a picture for meadow-clip at 64 px,
            200 kB for ViT-B-32.
    """

    autoencoder_images: PositiveInt = 24_000
    prior_images: PositiveInt = 40_000
    autoencoder_lr: PositiveFloat = 2e-3
    prior_lr: PositiveFloat = 1e-3
    prior_batch_size: PositiveInt | None = None
    detail_weight: float = Field(default=0.0, ge=0)
    alignment_weight: float = Field(default=0.0, ge=0)

"""The base class of every section of params.yaml, and what several sections may say."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

# "auto" is bf16 where the device computes it natively; see `base.device.choose_precision`.
Precision = Literal["fp32", "bf16", "auto"]
TrainPrecision = Literal["fp32", "tf32", "bf16", "auto"]


class Section(BaseModel):
    """A frozen, strict section: an unknown key or a value of another type is an error.

    Strict validation is what catches `train.lr: abc` or a misspelt key; DVC itself accepts both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

"""The base class of every section of params.yaml."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen, strict section: an unknown key or a value of another type is an error.

    Strict validation is what catches `train.lr: abc` or a misspelt key; DVC itself accepts both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

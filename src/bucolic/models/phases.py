"""How a kind is trained: what its phases are given, and what they are made of.

Dimensions: n pictures, m captions, b rows of a batch, s picture side, e embedding.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from bucolic.base.sheet import Block, Pictures, Sheet
from bucolic.models.config import TrainConfig
from bucolic.models.model import Model, to_unit

Network = TypeVar("Network", bound=nn.Module)
Values = dict[str, Tensor]
AT_ONCE = 4096  # a multiple of all batches, so that batches are what they would be without parts


@dataclass(frozen=True)
class TrainingData:
    """What training reads of one split.

    Attributes:
        pictures: uint8 [n, 3, s, s].
        image_conditions: float32 [n, e].
        text_conditions: float32 [m, e], grouped by picture.
        text_starts: int64 [n + 1]; the texts of picture i are text_starts[i] to text_starts[i + 1].
    """

    pictures: Tensor
    image_conditions: Tensor
    text_conditions: Tensor
    text_starts: Tensor

    def __len__(self) -> int:
        return len(self.pictures)

    def to(self, device: str) -> "TrainingData":
        """The same on another device."""
        return TrainingData(*(tensor.to(device) for tensor in vars(self).values()))

    def mapped(self, function: Callable[[Tensor], Tensor], *, flipped: bool) -> Tensor:
        """What a function makes of all pictures, or of their mirror images, on the data's device.

        It is given some at a time, uint8 [<= 4096, 3, s, s].
        """
        parts = torch.split(self.pictures, AT_ONCE)
        made = [function(part.flip(-1) if flipped else part) for part in parts]
        return torch.cat(made).to(self.pictures.device)

    def pictures_of(self, batch: "Batch") -> Tensor:
        """What a batch shows, float32 [b, 3, s, s] in [0, 1], mirrored where it says so."""
        pictures = self.pictures[batch.rows]
        mirrored = torch.where(batch.flipped[:, None, None, None], pictures.flip(-1), pictures)
        return to_unit(mirrored)


@dataclass(frozen=True)
class Batch:
    """Rows of a split with all the chance that a step needs.

    Attributes:
        rows: int64 [b].
        flipped: bool [b], pictures to mirror.
        conditions: float32 [b, e].
        dropped: bool [b], rows whose condition is withheld.
        noise: float32 [b, *noise_shape] of the model, standard normal.
        times: float32 [b] in (0, 1), logit-normal (arXiv 2403.03206): the middle of the flow, where
            the pictures are decided, more often than its ends.
    """

    rows: Tensor
    flipped: Tensor
    conditions: Tensor
    dropped: Tensor
    noise: Tensor
    times: Tensor


@dataclass(frozen=True)
class Moment:
    """Where in its budget a phase is: before step `step` of `steps`."""

    step: int
    steps: int


END = Moment(1, 1)


class Objective(Protocol):
    """A loss around one network: a module, so that DistributedDataParallel can wrap it."""

    network: nn.Module

    def __call__(self, batch: Batch, moment: Moment) -> tuple[Tensor, Values]:
        """The scalar loss, and detached scalars to log."""


@dataclass(frozen=True)
class Phase(Generic[Network]):
    """One network to train, and how to feed, judge and show it.

    Attributes:
        name: prefix of its files and values.
        network: what is trained, in place.
        objective: the loss around it, see `Objective`.
        draw: the batch that follows after so many images, of so many rows.
        validate: values of averaged weights; "val_loss" decides which weights are kept.
        show: pictures made with averaged weights, for people to look at.
        finish: what is left to do once the best weights are in the network.
    """

    name: str
    network: Network
    objective: nn.Module
    draw: Callable[[int, int], Batch]
    validate: Callable[[Network], dict[str, float]]
    show: Callable[[Network], Sheet]
    finish: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Plan:
    """How a model of a kind is trained.

    Attributes:
        phases: by name, in the order in which they are trained, what makes each of the context.
        ignored: keys of the `train` section that change nothing, and are accepted all the same.
        divisible: whether processes may share a batch and train what one process would.
    """

    phases: Mapping[str, Callable[["Context"], Phase[Any]]]
    ignored: tuple[str, ...] = ()
    divisible: bool = True


class Context(Protocol):
    """What all phases of a model share while it is trained."""

    @property
    def model(self) -> Model:
        """The model being made, on the training device."""

    @property
    def data(self) -> Mapping[str, TrainingData]:
        """The splits "train" and "val" there."""

    @property
    def seed(self) -> int:
        """Of the whole run."""

    def drawer(self, purpose: str) -> Callable[[int, int], Batch]:
        """What gives the batch that follows after so many images, of so many rows."""

    @property
    def config(self) -> TrainConfig:
        """Budgets and recipe, of the kind's own class."""

    def side_by_side(
        self, phase: str, evaluate: Callable[[str, Sequence[Batch]], dict[str, float]]
    ) -> dict[str, float]:
        """Values of the first rows of val and of train, drawn the same way at each validation."""

    def shown(self) -> tuple[Tensor, list[str]]:
        """First few val pictures that have a caption, as rows, and these captions."""

    def mean(self, value: Tensor) -> Tensor:
        """The average of a tensor over all processes."""

    def clip_maps(self, side: int) -> tuple[Tensor, Tensor]:
        """What the conditioning CLIP sees where in train's pictures, and in their mirror images.

        Returns:
            Feature maps float16 [n, f, side, side] from inside its image tower.
        """


def mean_over_rows(batches: Sequence[Batch], values: Sequence[Tensor]) -> float:
    """Mean over rows of values that are means over batches."""
    counts = [len(batch.rows) for batch in batches]
    total = sum(float(value) * count for value, count in zip(values, counts, strict=True))
    return total / sum(counts)


def mean_psnr_db(rebuilt: Tensor, pictures: Tensor) -> Tensor:
    """Mean peak signal-to-noise ratio in dB, at most 100, of pictures [b, 3, s, s] in [0, 1]."""
    errors = (rebuilt - pictures).square().flatten(1).mean(1)
    return -10 * errors.clamp(min=1e-10).log10().mean()


def below_one_another(rows: Sequence[Pictures], captions: Sequence[str]) -> Sheet:
    """Rows of pictures uint8 [columns, 3, s, s], one column a caption, written below the last."""
    return [Block(np.concatenate(rows), columns=len(captions), captions=captions)]

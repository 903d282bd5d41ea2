"""What all phases of a training share: the model, the data, and how batches are drawn from it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bucolic.models.config import TrainConfig
from bucolic.models.model import Model
from bucolic.models.phases import Batch, TrainingData
from bucolic.seeing.clip.towers import Towers
from bucolic.seeing.jury import feature_maps
from bucolic.training.data import Chance, draw_batch, fixed_batches
from bucolic.training.distributed import World

# Rows of each split that a validation looks at, within bounds: that many for each image of the
# budget, over all validations. They go forwards alone, through a third of a step's operations.
VALIDATED_SHARE = 0.025
FEWEST_ROWS, MOST_ROWS = 64, 1024
ROWS_PER_BATCH = 64
SHOWN = 8


@dataclass(frozen=True)
class TrainingContext:
    """A `models.phases.Context`.

    Attributes:
        model: the model being made, on the training device.
        data: the splits "train" and "val" there.
        captions: val's captions, in the order of its text_conditions.
        chance: how batches are drawn.
        world: the processes at work.
        config: budgets and recipe.
        load_towers: of the conditioning CLIP, which few kinds of training need.
    """

    model: Model
    data: Mapping[str, TrainingData]
    captions: Sequence[str]
    chance: Chance
    world: World
    config: TrainConfig
    load_towers: Callable[[], Towers]

    def drawer(self, purpose: str) -> Callable[[int, int], Batch]:
        """What gives the batch that follows after so many images, of so many rows."""
        train = self.data["train"]
        return lambda seen, count: draw_batch(train, self.chance, purpose, start=seen, count=count)

    def side_by_side(
        self, phase: str, evaluate: Callable[[str, Sequence[Batch]], dict[str, float]]
    ) -> dict[str, float]:
        """Values of the first rows of val and of train, drawn the same way at each validation."""
        chance, rows = self.chance.without_drop(), self._validated_rows(phase)
        found: dict[str, float] = {}
        for split, data in self.data.items():
            batches = fixed_batches(data, chance, limit=rows, count=ROWS_PER_BATCH)
            found |= {f"{split}_{key}": value for key, value in evaluate(split, batches).items()}
        return found

    def _validated_rows(self, phase: str) -> int:
        images: int = getattr(self.config, f"{phase}_images")
        rows = round(VALIDATED_SHARE * images / self.config.validations)
        return min(max(rows, FEWEST_ROWS), MOST_ROWS)

    def shown(self) -> tuple[Tensor, list[str]]:
        """First few val pictures that have a caption, as rows, and these captions."""
        starts = self.data["val"].text_starts.cpu()
        rows = torch.arange(len(starts) - 1)[starts[1:] > starts[:-1]][:SHOWN]
        return rows, [self.captions[int(starts[row])] for row in rows]

    @property
    def seed(self) -> int:
        """Of the whole run."""
        return self.chance.seed

    def clip_maps(self, side: int) -> tuple[Tensor, Tensor]:
        """See `models.phases.Context`."""
        towers, data = self.load_towers(), self.data["train"]

        def maps_of(pictures: Tensor) -> Tensor:
            return feature_maps(towers, pictures.cpu().numpy(), side)

        plain, mirrored = (data.mapped(maps_of, flipped=flipped) for flipped in (False, True))
        return plain, mirrored

    def mean(self, value: Tensor) -> Tensor:
        """The average of a tensor over all processes."""
        return self.world.mean(value)

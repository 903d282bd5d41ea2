"""What validations look at."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from bucolic.models.cvae.config import CvaeTrainConfig
from bucolic.models.phases import Batch, TrainingData
from bucolic.training.context import TrainingContext
from bucolic.training.data import Chance
from bucolic.training.distributed import World


@pytest.mark.parametrize(
    ("images", "validations", "rows"),
    [(24_000, 5, 120), (24_000, 10, 64), (2_000_000, 10, 1024), (1_000_000, 100, 250)],
)
def test_a_budget_says_how_many_rows_its_validations_look_at(
    images: int, validations: int, rows: int
):
    """From 64 to 1,024 of each split, or all where there are fewer."""
    config = CvaeTrainConfig(autoencoder_images=images, validations=validations)
    splits = {name: pictures(count) for name, count in (("train", 2000), ("val", 70))}
    model = cast("Any", SimpleNamespace())
    chance = Chance(0, flip=True, condition_drop=0.1, text_share=0.5, noise_shape=(2,))
    context = TrainingContext(model, splits, [], chance, World(), config, cast("Any", None))
    seen = {}

    def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
        seen[split] = sum(len(batch.rows) for batch in batches)
        return {"loss": 1.0}

    assert {"train_loss": 1.0, "val_loss": 1.0} == context.side_by_side("autoencoder", evaluate)
    assert {"train": rows, "val": min(rows, 70)} == seen


def pictures(count: int) -> TrainingData:
    """So many black pictures without captions."""
    return TrainingData(
        torch.zeros(count, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(count, 2),
        torch.zeros(0, 2),
        torch.zeros(count + 1, dtype=torch.long),
    )

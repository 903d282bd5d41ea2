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
def test_all_validations_together_cost_less_than_3_percent_of_a_phase(
    images: int, validations: int, rows: int
):
    """The budget says how many rows are looked at, from 64 to 1,024, or all where there are fewer.

    A validation passes each row of two splits forwards (with two decoders, 1.65 passes), a step
    each of its rows three times.
    """
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
    if rows > 64:
        assert validations * 2 * rows * 1.65 / (3 * images) < 0.03


def pictures(count: int) -> TrainingData:
    """So many black pictures without captions."""
    return TrainingData(
        torch.zeros(count, 3, 8, 8, dtype=torch.uint8),
        torch.zeros(count, 2),
        torch.zeros(0, 2),
        torch.zeros(count + 1, dtype=torch.long),
    )

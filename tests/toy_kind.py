"""A second kind of model, all of it in this file: a linear map from condition to picture."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from bucolic.base.sheet import Sheet
from bucolic.models.config import ModelConfig, TrainConfig
from bucolic.models.kinds import Curve, Kind
from bucolic.models.model import Model, noise_of, to_uint8, to_unit
from bucolic.models.phases import (
    END,
    Batch,
    Context,
    Moment,
    Phase,
    Plan,
    TrainingData,
    Values,
    below_one_another,
    mean_over_rows,
)


class ToyConfig(ModelConfig):
    """A bottleneck between condition and picture."""

    rank: PositiveInt = 4


class ToyTrainConfig(TrainConfig):
    """One phase."""

    painter_images: PositiveInt = 640
    painter_lr: PositiveFloat = 0.02


class ToyModel(Model):
    """Paints every picture of a condition alike, but for a breath of noise."""

    def __init__(self, config: ToyConfig, *, size_px: int, embed_dim: int) -> None:
        super().__init__(
            {"rank": config.rank}, size_px=size_px, embed_dim=embed_dim, noise_shape=(1,)
        )
        self.painter = nn.Sequential(
            nn.Linear(embed_dim, config.rank), nn.Linear(config.rank, 3 * size_px**2)
        )

    def paint(self, conditions: Tensor) -> Tensor:
        """Pictures [b, 3, s, s] around [0, 1]."""
        size_px = int(self.shapes["size_px"])
        return self.painter(conditions).unflatten(1, (3, size_px, size_px)) + 0.5

    @torch.inference_mode()
    def draw(
        self, conditions: Tensor, seeds: Sequence[int], *, guidance: float, steps: int
    ) -> Tensor:
        """See `Model.draw`; there is one step."""
        assert steps == 1
        noise = torch.stack([noise_of(seed, self.noise_shape) for seed in seeds])
        return self.in_batches(
            lambda c, n: to_uint8(self.paint(guidance * c) + 0.02 * n[:, :, None, None]),
            conditions,
            noise,
        )

    def reconstruct(self, pictures: Tensor, conditions: Tensor) -> Tensor:
        """What is painted of the same conditions."""
        return self.draw(conditions, range(len(pictures)), guidance=1.0, steps=1)


class Distance(nn.Module):
    """Squared distance between what is painted and the picture."""

    def __init__(self, model: ToyModel, network: nn.Module, data: TrainingData) -> None:
        super().__init__()
        self.network = network
        self.data = data
        self.size_px = int(model.shapes["size_px"])

    def forward(self, batch: Batch, _moment: Moment) -> tuple[Tensor, Values]:
        """Its mean over all pixels."""
        painted = self.network(batch.conditions).unflatten(1, (3, self.size_px, self.size_px))
        return (painted + 0.5 - to_unit(self.data.pictures[batch.rows])).square().mean(), {}


def painter_phase(context: Context) -> Phase[nn.Module]:
    """The only phase."""
    model = context.model
    assert isinstance(model, ToyModel)

    @torch.no_grad()
    def validate(network: nn.Module) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            objective = Distance(model, network, context.data[split])
            return {"loss": mean_over_rows(batches, [objective(b, END)[0] for b in batches])}

        return context.side_by_side("painter", evaluate)

    def show(_network: nn.Module) -> Sheet:
        rows, captions = context.shown()
        return below_one_another([np.asarray(context.data["val"].pictures[rows])], captions)

    objective = Distance(model, model.painter, context.data["train"])
    return Phase("painter", model.painter, objective, context.drawer("painter"), validate, show)


def reached(best: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One figure."""
    return {"val_distance": best["painter"]["val_loss"]}


def plan(_config: ToyConfig) -> Plan:
    """The only phase."""
    return Plan({"painter": painter_phase})


KIND = Kind(
    config="toy_kind:ToyConfig",
    training="toy_kind:ToyTrainConfig",
    build="toy_kind:ToyModel",
    plan="toy_kind:plan",
    reached="toy_kind:reached",
    curves=(Curve("painter", "loss", "Painter: squared distance", "lower"),),
)

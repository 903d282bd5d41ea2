"""The two phases of training: first the autoencoder, then the prior over its latents."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bucolic.base.sheet import Block, Pictures, Sheet
from bucolic.models.cvae import Autoencoder
from bucolic.models.generator import Generator, picture_seed, to_unit
from bucolic.models.latent_prior import LatentPrior
from bucolic.training.data import Batch, Chance, TrainingData, draw_batch, fixed_batches
from bucolic.training.distributed import World
from bucolic.training.loop import Phase
from bucolic.training.objectives import AutoencoderObjective, LatentData, PriorObjective

VALIDATION_ROWS = 256
ROWS_PER_BATCH = 64
SHOWN = 8
SHOWN_ROWS = 2
SHOWN_GUIDANCE = 2.0
SHOWN_STEPS = 6


@dataclass(frozen=True)
class Context:
    """What both phases share.

    Attributes:
        generator: the model being made, on the training device.
        data: the splits "train" and "val" there.
        captions: val's captions, in the order of its text_conditions.
        chance: how batches are drawn.
        world: the processes at work.
    """

    generator: Generator
    data: Mapping[str, TrainingData]
    captions: Sequence[str]
    chance: Chance
    world: World

    def drawer(self, purpose: str) -> Callable[[int, int], Batch]:
        """What gives the batch that follows after so many images, of so many rows."""
        train = self.data["train"]
        return lambda seen, count: draw_batch(train, self.chance, purpose, start=seen, count=count)

    def side_by_side(
        self, evaluate: Callable[[str, Sequence[Batch]], dict[str, float]]
    ) -> dict[str, float]:
        """Values of the first rows of val and of train, drawn the same way at each validation."""
        chance = self.chance.without_drop()
        found: dict[str, float] = {}
        for split, data in self.data.items():
            batches = fixed_batches(data, chance, limit=VALIDATION_ROWS, count=ROWS_PER_BATCH)
            found |= {f"{split}_{key}": value for key, value in evaluate(split, batches).items()}
        return found

    def shown(self) -> tuple[Tensor, list[str]]:
        """First few val pictures that have a caption, as rows, and these captions."""
        starts = self.data["val"].text_starts.cpu()
        rows = torch.arange(len(starts) - 1)[starts[1:] > starts[:-1]][:SHOWN]
        return rows, [self.captions[int(starts[row])] for row in rows]


def autoencoder_phase(context: Context) -> Phase[Autoencoder]:
    """Encoder and decoder, by their evidence lower bound."""
    preview = copy.deepcopy(context.generator)
    rows, captions = context.shown()
    val = context.data["val"]

    @torch.no_grad()
    def validate(network: Autoencoder) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            data = context.data[split]
            objective = AutoencoderObjective(network, data, mean=lambda value: value)
            found = [objective(batch, 1.0) for batch in batches]
            psnr = [_psnr_db(network, data, batch.rows) for batch in batches]
            return {
                "loss": _mean(batches, [loss for loss, _ in found]),
                "psnr_db": _mean(batches, psnr),
                "kl_nats": _mean(batches, [values["kl_nats"] for _, values in found]),
                "sigma": _mean(batches, [values["sigma"] for _, values in found]),
            }

        return context.side_by_side(evaluate)

    def show(network: Autoencoder) -> Sheet:
        preview.autoencoder.load_state_dict(network.state_dict())
        pictures = val.pictures[rows]
        rebuilt = preview.decode(preview.encode(pictures), val.image_conditions[rows])
        return _sheet([pictures.cpu().numpy(), rebuilt.numpy()], captions)

    network = context.generator.autoencoder
    objective = AutoencoderObjective(network, context.data["train"], context.world.mean)
    return Phase("autoencoder", network, objective, context.drawer("autoencoder"), validate, show)


def prior_phase(context: Context) -> Phase[LatentPrior]:
    """The flow over the latents of the autoencoder as it is now; sets their statistics."""
    generator = context.generator
    raw = {split: _latents(generator, data.pictures) for split, data in context.data.items()}
    generator.prior.set_statistics(raw["train"].plain)
    latents = {split: _normalised(generator.prior, found) for split, found in raw.items()}
    preview = copy.deepcopy(generator)
    rows, captions = context.shown()
    val = context.data["val"]

    @torch.no_grad()
    def validate(network: LatentPrior) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            objective = PriorObjective(network, latents[split])
            return {"loss": _mean(batches, [objective(batch, 1.0)[0] for batch in batches])}

        return context.side_by_side(evaluate)

    def show(network: LatentPrior) -> Sheet:
        preview.prior.load_state_dict(network.state_dict())
        conditions = val.text_conditions[val.text_starts[rows]].repeat(SHOWN_ROWS, 1)
        seeds = [picture_seed(context.chance.seed, "shown", i) for i in range(len(conditions))]
        pictures = preview.draw(conditions, seeds, guidance=SHOWN_GUIDANCE, steps=SHOWN_STEPS)
        real = val.pictures[rows].cpu().numpy()
        return _sheet([real, pictures.numpy()], captions)

    objective = PriorObjective(generator.prior, latents["train"])
    return Phase("prior", generator.prior, objective, context.drawer("prior"), validate, show)


PHASES: Mapping[str, Callable[[Context], Phase[Any]]] = {
    "autoencoder": autoencoder_phase,
    "prior": prior_phase,
}


def _sheet(rows: Sequence[Pictures], captions: Sequence[str]) -> Sheet:
    """One column a caption, written below the last row."""
    return [Block(np.concatenate(rows), columns=len(captions), captions=captions)]


def _latents(generator: Generator, pictures: Tensor) -> LatentData:
    device = pictures.device
    return LatentData(
        generator.encode(pictures).to(device), generator.encode(pictures.flip(-1)).to(device)
    )


def _normalised(prior: LatentPrior, latents: LatentData) -> LatentData:
    return LatentData(prior.normalise(latents.plain), prior.normalise(latents.mirrored))


def _psnr_db(network: Autoencoder, data: TrainingData, rows: Tensor) -> Tensor:
    pictures = to_unit(data.pictures[rows])
    rebuilt = network.reconstruct(pictures, data.image_conditions[rows]).clamp(0, 1)
    errors = (rebuilt - pictures).square().flatten(1).mean(1)
    return -10 * errors.clamp(min=1e-10).log10().mean()


def _mean(batches: Sequence[Batch], values: Sequence[Tensor]) -> float:
    """Mean over rows of values that are means over batches."""
    counts = [len(batch.rows) for batch in batches]
    total = sum(float(value) * count for value, count in zip(values, counts, strict=True))
    return total / sum(counts)

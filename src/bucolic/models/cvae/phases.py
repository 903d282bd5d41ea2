"""The two phases of training: first the autoencoder, then the prior over its latents."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bucolic.base.sheet import Sheet
from bucolic.models.cvae.alignment import AlignedPrior, Projector
from bucolic.models.cvae.autoencoder import Autoencoder
from bucolic.models.cvae.config import CvaeTrainConfig
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.cvae.model import Cvae
from bucolic.models.cvae.objectives import AutoencoderObjective, Maps, PriorObjective
from bucolic.models.model import picture_seed, to_unit
from bucolic.models.phases import (
    END,
    Batch,
    Context,
    Phase,
    TrainingData,
    below_one_another,
    mean_over_rows,
)

SHOWN_ROWS = 2
SHOWN_GUIDANCE = 2.0
SHOWN_STEPS = 6
SIGMA_ROWS = 1024  # train pictures whose error sets the optimal sigma


def _cvae(context: Context) -> Cvae:
    assert isinstance(context.model, Cvae), "these phases train a CVAE"
    return context.model


def _config(context: Context) -> CvaeTrainConfig:
    assert isinstance(context.config, CvaeTrainConfig), "these phases train a CVAE"
    return context.config


def autoencoder_phase(context: Context) -> Phase[Autoencoder]:
    """Encoder and decoder, by their evidence lower bound, and detail where it is weighted."""
    preview = copy.deepcopy(_cvae(context))
    rows, captions = context.shown()
    val, weight = context.data["val"], _config(context).detail_weight

    @torch.no_grad()
    def validate(network: Autoencoder) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            data = context.data[split]
            objective = AutoencoderObjective(network, data, weight, mean=lambda value: value)
            found = [objective(batch, END) for batch in batches]
            psnr = [_psnr_db(network, data, batch.rows) for batch in batches]
            return {
                "loss": mean_over_rows(batches, [loss for loss, _ in found]),
                "psnr_db": mean_over_rows(batches, psnr),
                **{
                    name: mean_over_rows(batches, [values[name] for _, values in found])
                    for name in ("bound", "kl_nats", "sigma")
                },
            }

        return context.side_by_side("autoencoder", evaluate)

    def show(network: Autoencoder) -> Sheet:
        preview.autoencoder.load_state_dict(network.state_dict())
        pictures = val.pictures[rows]
        rebuilt = preview.reconstruct(pictures, val.image_conditions[rows])
        return below_one_another([pictures.cpu().numpy(), rebuilt.numpy()], captions)

    network = _cvae(context).autoencoder
    objective = AutoencoderObjective(network, context.data["train"], weight, context.mean)
    return Phase("autoencoder", network, objective, context.drawer("autoencoder"), validate, show)


def prior_phase(context: Context) -> Phase[AlignedPrior]:
    """The flow over the autoencoder's latents as they are now; sets sigma and their statistics."""
    model = _cvae(context)
    latents = _fixed_latents(model, context)
    preview = copy.deepcopy(model)
    rows, captions = context.shown()
    val = context.data["val"]

    @torch.no_grad()
    def validate(network: AlignedPrior) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            objective = PriorObjective(network, latents[split])
            return {
                "loss": mean_over_rows(batches, [objective(batch, END)[0] for batch in batches])
            }

        return context.side_by_side("prior", evaluate)

    def show(network: AlignedPrior) -> Sheet:
        preview.prior.load_state_dict(network.prior.state_dict())
        conditions = val.text_conditions[val.text_starts[rows]].repeat(SHOWN_ROWS, 1)
        seeds = [picture_seed(context.seed, "shown", i) for i in range(len(conditions))]
        pictures = preview.draw(conditions, seeds, guidance=SHOWN_GUIDANCE, steps=SHOWN_STEPS)
        real = val.pictures[rows].cpu().numpy()
        return below_one_another([real, pictures.numpy()], captions)

    weight = _config(context).alignment_weight
    maps = Maps(*context.clip_maps(model.noise_shape[-1])) if weight else None
    projector = _projector(model, maps, context.seed) if maps else None
    network = AlignedPrior(model.prior, projector)
    objective = PriorObjective(network, latents["train"], maps, weight)
    return Phase("prior", network, objective, context.drawer("prior"), validate, show)


PHASES: Mapping[str, Callable[[Context], Phase[Any]]] = {
    "autoencoder": autoencoder_phase,
    "prior": prior_phase,
}


def _fixed_latents(model: Cvae, context: Context) -> Mapping[str, Maps]:
    """Normalised latents of both splits; sigma and the statistics are set by those of train."""
    train = context.data["train"]
    seen = train.pictures[:SIGMA_ROWS], train.image_conditions[:SIGMA_ROWS]
    model.autoencoder.set_sigma(model.squared_error(*seen, context.seed))
    raw = {split: _latents(model, data.pictures) for split, data in context.data.items()}
    model.prior.set_statistics(raw["train"].plain)
    return {split: _normalised(model.prior, found) for split, found in raw.items()}


def _projector(model: Cvae, maps: Maps, seed: int) -> Projector:
    """An untrained projector; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(picture_seed(seed, "projector"))
        return Projector(model.prior.network.width, maps.plain).to(model.device)


def _latents(model: Cvae, pictures: Tensor) -> Maps:
    device = pictures.device
    return Maps(model.encode(pictures).to(device), model.encode(pictures.flip(-1)).to(device))


def _normalised(prior: LatentPrior, latents: Maps) -> Maps:
    return Maps(prior.normalise(latents.plain), prior.normalise(latents.mirrored))


def _psnr_db(network: Autoencoder, data: TrainingData, rows: Tensor) -> Tensor:
    pictures = to_unit(data.pictures[rows])
    rebuilt = network.reconstruct(pictures, data.image_conditions[rows]).clamp(0, 1)
    errors = (rebuilt - pictures).square().flatten(1).mean(1)
    return -10 * errors.clamp(min=1e-10).log10().mean()

"""The two phases of training: first the autoencoder, then the prior over its latents."""

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bucolic.base.sheet import Sheet
from bucolic.models.cvae.alignment import AlignedPrior, Projector
from bucolic.models.cvae.autoencoder import Autoencoder
from bucolic.models.cvae.config import CvaeConfig, CvaeTrainConfig
from bucolic.models.cvae.gaussian_prior import GaussianPrior
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.cvae.model import Cvae
from bucolic.models.cvae.objectives import AutoencoderObjective, Joint, Maps, PriorObjective
from bucolic.models.model import picture_seed, to_unit
from bucolic.models.phases import (
    END,
    Batch,
    Context,
    Phase,
    Plan,
    TrainingData,
    below_one_another,
    mean_over_rows,
    mean_psnr_db,
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


def autoencoder_phase(context: Context) -> Phase[Joint]:
    """Encoder and decoder, by their evidence lower bound, and detail where it is weighted.

    A Gaussian prior is trained with them. In the end sigma is set to its optimum.
    """
    model = _cvae(context)
    preview = copy.deepcopy(model)
    rows, captions = context.shown()
    val, weight = context.data["val"], _config(context).detail_weight

    @torch.no_grad()
    def validate(network: Joint) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            data = context.data[split]
            objective = AutoencoderObjective(network, data, weight, mean=lambda value: value)
            found = [objective(batch, END) for batch in batches]
            psnr = [_psnr_db(network.autoencoder, data, batch.rows) for batch in batches]
            return {
                "loss": mean_over_rows(batches, [loss for loss, _ in found]),
                "psnr_db": mean_over_rows(batches, psnr),
                **{
                    name: mean_over_rows(batches, [values[name] for _, values in found])
                    for name in ("bound", "kl_nats", "sigma")
                },
            }

        return context.side_by_side("autoencoder", evaluate)

    def show(network: Joint) -> Sheet:
        preview.autoencoder.load_state_dict(network.autoencoder.state_dict())
        pictures = val.pictures[rows]
        rebuilt = preview.reconstruct(pictures, val.image_conditions[rows])
        return below_one_another([pictures.cpu().numpy(), rebuilt.numpy()], captions)

    def finish() -> None:
        train = context.data["train"]
        seen = train.pictures[:SIGMA_ROWS], train.image_conditions[:SIGMA_ROWS]
        model.autoencoder.set_sigma(model.squared_error(*seen, context.seed))

    prior = model.prior if isinstance(model.prior, GaussianPrior) else None
    network = Joint(model.autoencoder, prior)
    objective = AutoencoderObjective(network, context.data["train"], weight, context.mean)
    draw = context.drawer("autoencoder")
    return Phase("autoencoder", network, objective, draw, validate, show, finish)


def prior_phase(context: Context) -> Phase[AlignedPrior]:
    """The flow over the autoencoder's latents as they are now; sets their statistics."""
    model, prior = _cvae(context), _flow(context)
    latents = _fixed_latents(model, prior, context)
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
    projector = _projector(prior, maps, context.seed) if maps else None
    network = AlignedPrior(prior, projector)
    objective = PriorObjective(network, latents["train"], maps, weight)
    return Phase("prior", network, objective, context.drawer("prior"), validate, show)


def plan(config: CvaeConfig) -> Plan:
    """The autoencoder, and over its latents the flow; a Gaussian prior has no phase of its own."""
    if config.latent_prior == "flow":
        return Plan({"autoencoder": autoencoder_phase, "prior": prior_phase})
    ignored = ("prior_images", "prior_lr", "prior_batch_size", "alignment_weight", "steps")
    return Plan({"autoencoder": autoencoder_phase}, ignored)


def _flow(context: Context) -> LatentPrior:
    prior = _cvae(context).prior
    assert isinstance(prior, LatentPrior), "this phase trains a flow"
    return prior


def _fixed_latents(model: Cvae, prior: LatentPrior, context: Context) -> Mapping[str, Maps]:
    """Latents of both splits, normalised by the statistics of train's."""
    raw = {split: _latents(model, data) for split, data in context.data.items()}
    prior.set_statistics(raw["train"].plain)
    return {split: _normalised(prior, found) for split, found in raw.items()}


def _projector(prior: LatentPrior, maps: Maps, seed: int) -> Projector:
    """An untrained projector; torch's own random state is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(picture_seed(seed, "projector"))
        return Projector(prior.network.width, maps.plain).to(prior.latent_std.device)


def _latents(model: Cvae, data: TrainingData) -> Maps:
    return Maps(*(data.mapped(model.encode, flipped=flipped) for flipped in (False, True)))


def _normalised(prior: LatentPrior, latents: Maps) -> Maps:
    return Maps(prior.normalise(latents.plain), prior.normalise(latents.mirrored))


def _psnr_db(network: Autoencoder, data: TrainingData, rows: Tensor) -> Tensor:
    pictures = to_unit(data.pictures[rows])
    rebuilt = network.reconstruct(pictures, data.image_conditions[rows]).clamp(0, 1)
    return mean_psnr_db(rebuilt, pictures)

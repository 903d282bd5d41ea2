"""The only phase of the original study's training."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from bucolic.base.sheet import Sheet
from bucolic.models.dlfp.config import DlfpConfig
from bucolic.models.dlfp.model import Dlfp
from bucolic.models.dlfp.networks import Autoencoder
from bucolic.models.dlfp.objective import StudyObjective
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


def autoencoder_phase(context: Context) -> Phase[Autoencoder]:
    """Encoder and decoder, by the study's loss."""
    model = context.model
    assert isinstance(model, Dlfp), "this phase trains the original study's model"
    preview = copy.deepcopy(model).eval()
    rows, captions = context.shown()
    val = context.data["val"]

    @torch.no_grad()
    def validate(network: Autoencoder) -> dict[str, float]:
        def evaluate(split: str, batches: Sequence[Batch]) -> dict[str, float]:
            data = context.data[split]
            objective = StudyObjective(network, data)
            found = [objective(batch, END) for batch in batches]
            psnr = [_psnr_db(preview, network, data, batch) for batch in batches]
            return {
                "loss": mean_over_rows(batches, [loss for loss, _ in found]),
                "psnr_db": mean_over_rows(batches, psnr),
                "kl_nats": mean_over_rows(batches, [values["kl_nats"] for _, values in found]),
            }

        return context.side_by_side("autoencoder", evaluate)

    def show(network: Autoencoder) -> Sheet:
        preview.autoencoder.load_state_dict(network.state_dict())
        conditions = val.text_conditions[val.text_starts[rows]]
        seeds = [picture_seed(context.seed, "shown", i) for i in range(len(rows))]
        drawn = preview.draw(conditions, seeds, guidance=1.0, steps=1)
        rebuilt = preview.reconstruct(val.pictures[rows], val.image_conditions[rows])
        real = val.pictures[rows].cpu().numpy()
        return below_one_another([real, rebuilt.numpy(), drawn.numpy()], captions)

    network = model.autoencoder
    objective = StudyObjective(network, context.data["train"])
    return Phase("autoencoder", network, objective, context.drawer("autoencoder"), validate, show)


def plan(_config: DlfpConfig) -> Plan:
    """One phase, whole batches for BatchNorm, and no use for what steers a prior or guidance."""
    ignored = (
        "prior_images",
        "prior_lr",
        "prior_batch_size",
        "detail_weight",
        "alignment_weight",
        "condition_drop",
        "guidances",
        "steps",
    )
    return Plan({"autoencoder": autoencoder_phase}, ignored, divisible=False)


def _psnr_db(preview: Dlfp, network: Autoencoder, data: TrainingData, batch: Batch) -> Tensor:
    """Of reconstructions under the condition that the batch gives."""
    preview.autoencoder.load_state_dict(network.state_dict())
    pictures = data.pictures[batch.rows]
    rebuilt = preview.reconstruct(pictures, batch.conditions).to(pictures.device)
    return mean_psnr_db(to_unit(rebuilt), to_unit(pictures))

"""One autoencoder, and over its latents a prior p(z|c) for each training and seed.

Everything else is the same for all: pictures, latents, budget, and the decoder, which is given no
embedding. Work that was done is kept in checkpoints, so a study goes on where it was killed.

Dimensions: n pictures, s picture side, e embedding.
"""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bucolic.arms.conditions import Ladder
from bucolic.arms.table import Training
from bucolic.base.report import NoSink
from bucolic.data.shards import Split
from bucolic.models.cvae.config import CvaeConfig, CvaeTrainConfig
from bucolic.models.cvae.latent_prior import LatentPrior
from bucolic.models.cvae.model import Cvae
from bucolic.models.cvae.phases import autoencoder_phase, prior_phase
from bucolic.models.kinds import kind_named
from bucolic.models.model import noise_of, to_uint8
from bucolic.models.phases import Phase
from bucolic.seeing.clip.towers import Towers
from bucolic.training.build import chance_of, new_model, open_context, recipe_of
from bucolic.training.context import TrainingContext
from bucolic.training.distributed import World
from bucolic.training.guidance import Sampling
from bucolic.training.loop import Trainer

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Bench:
    """What all trainings of a study share.

    Attributes:
        splits: "train" and "val".
        shapes: of the networks.
        config: budgets and recipe; its seed is the autoencoder's.
        device: where they compute.
        towers: the CLIP of the embeddings.
        folder: of checkpoints.
    """

    splits: dict[str, Split]
    shapes: CvaeConfig
    config: CvaeTrainConfig
    device: str
    towers: Towers
    folder: Path

    def autoencoder(self) -> TrainingContext:
        """The context of a model whose autoencoder is trained, half of the time without condition.

        So its decoder is no stranger to what it is given in the end.
        """
        config = self.config.model_copy(update={"condition_drop": 0.5})
        model, _ = new_model(kind_named(), self.shapes, self.splits, self.config.seed)
        chance = chance_of(config, model.noise_shape)
        context = open_context(
            model, self.splits, config, chance, World(), self.device, lambda: self.towers
        )
        self._train(autoencoder_phase(context), "autoencoder", config)
        return context

    def prior(self, base: TrainingContext, training: Training, ladder: Ladder, seed: int) -> Cvae:
        """The model with a prior of its own.

        Args:
            base: of the trained autoencoder.
            training: what it is conditioned on.
            ladder: fitted with the same seed.
            seed: of weights, batches and noise.
        """
        noise = ladder.unexplained if training.noisy else 0.0
        changed = {"seed": seed, "text_share": training.text_share, "condition_noise": noise}
        config = self.config.model_copy(update=changed)
        model = self._with_new_prior(base, seed)
        splits = self.splits.items()
        context = replace(
            base,
            model=model,
            data={name: ladder.data(training, split).to(self.device) for name, split in splits},
            chance=chance_of(config, model.noise_shape),
            config=config,
        )
        self._train(prior_phase(context), f"{training.name}-{seed}", config)
        return model

    def _with_new_prior(self, base: TrainingContext, seed: int) -> Cvae:
        assert isinstance(base.model, Cvae)
        model = copy.deepcopy(base.model)
        embed_dim = self.splits["train"].image_vectors.shape[1]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            channels = self.shapes.autoencoder.latent_channels
            model.prior = LatentPrior(self.shapes.prior, channels, embed_dim)
        return model.placed(self.device)

    def _train(self, phase: Phase[Any], name: str, config: CvaeTrainConfig) -> None:
        logger.info("%s: up to %d images", name, getattr(config, f"{phase.name}_images"))
        Trainer(phase, recipe_of(config, phase.name), World()).run(self.folder / name, NoSink())


@torch.inference_mode()
def drawn(model: Cvae, conditions: Tensor, seeds: Sequence[int], sampling: Sampling) -> Tensor:
    """Pictures uint8 [n, 3, s, s] of conditions [n, e], by a decoder that is given none of them."""

    def draw(noise: Tensor, conditions: Tensor) -> Tensor:
        latents = model.prior.sample(
            noise, conditions, guidance=sampling.guidance, steps=sampling.steps
        )
        withheld = torch.ones(len(latents), dtype=torch.bool, device=latents.device)
        pictures: Tensor = model.autoencoder.decoder(latents, conditions, withheld)
        return to_uint8(pictures)

    noise = torch.stack([noise_of(seed, model.noise_shape) for seed in seeds])
    return model.in_batches(draw, noise, conditions)

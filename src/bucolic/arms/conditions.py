"""Conditions of trainings and arms: raw embeddings scaled alone, or centred and mapped.

Dimensions: n pictures, m captions, p prompts, e embedding.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bucolic.arms.table import FITTED, IMAGE, RAW, SHIFT, Arm, Training
from bucolic.data.shards import Split
from bucolic.evaluation.metrics.modality_gap import explained, modality_gap
from bucolic.models.conditioning import Conditioning, to_sphere
from bucolic.models.model import noise_of, picture_seed
from bucolic.models.phases import TrainingData
from bucolic.training.data import pairs_of, training_data


@dataclass(frozen=True)
class Ladder:
    """The rungs of models/text_priors.py, fitted on one split's pairs.

    Attributes:
        rungs: by name; all have the same means.
        text_cosine: mean cosine between val's pictures and what ridge expects of their captions.
    """

    rungs: dict[str, Conditioning]
    text_cosine: float

    @property
    def unexplained(self) -> float:
        """Size of what a prompt through ridge leaves open, in units of a condition's values.

        Of two vectors of length sqrt(e) and cosine r, the difference has e (2 - 2 r) as its square.
        """
        return math.sqrt(2 - 2 * self.text_cosine)

    def data(self, training: Training, split: Split) -> TrainingData:
        """What a training reads of a split."""
        if training.centred:
            return training_data(split, self.rungs[training.captions])
        centred = training_data(split, self.rungs[SHIFT])
        order = split.caption_rows.argsort(kind="stable")
        return replace(
            centred,
            image_conditions=to_sphere(torch.from_numpy(split.image_vectors)),
            text_conditions=to_sphere(torch.from_numpy(split.caption_vectors[order])),
        )

    @torch.no_grad()
    def prompted(
        self, arm: Arm, training: Training, images: np.ndarray, texts: np.ndarray, seed: int
    ) -> Tensor:
        """Conditions [p, e] that an arm is asked with.

        Args:
            arm: the arm.
            training: its training.
            images: raw embeddings [p, e] of the test pictures.
            texts: raw embeddings [p, e] of the prompts.
            seed: of what a rung draws.
        """
        if training.centred:
            return self._centred(arm, torch.from_numpy(images), torch.from_numpy(texts), seed)
        assert not arm.draws, "draws are of centred trainings"
        if arm.prompt in (IMAGE, RAW):
            return to_sphere(torch.from_numpy(images if arm.prompt == IMAGE else texts))
        return to_sphere(self._expected(arm.prompt, torch.from_numpy(texts)))

    def _centred(self, arm: Arm, images: Tensor, texts: Tensor, seed: int) -> Tensor:
        if arm.prompt == IMAGE:
            return self.rungs[SHIFT].of_images(images)
        noise = None
        if arm.draws:
            shape = arm.draws, texts.shape[1]
            seeds = [picture_seed(seed, "text", place) for place in range(len(texts))]
            noise = torch.stack([noise_of(each, shape) for each in seeds])
        return self.rungs[arm.prompt].of_texts(texts, noise)

    def _expected(self, rung: str, texts: Tensor) -> Tensor:
        """Unit picture embeddings [p, e] that a rung expects of texts: not centred any more."""
        fitted = self.rungs[rung]
        unit = functional.normalize(texts)
        expected: Tensor = fitted.text_prior(unit - fitted.text_mean) + fitted.image_mean
        return expected

    @torch.no_grad()
    def gap(self, split: Split) -> dict[str, float]:
        """How far apart pictures and captions of a held-out split lie, and what each rung closes.

        Returns:
            See `modality_gap`; and `r2_NAME` of each rung, of "none" with raw texts.
        """
        images = split.image_vectors[split.caption_rows]
        texts = torch.from_numpy(split.caption_vectors)
        found = {name: self._expected(name, texts).numpy() for name in self.rungs}
        found = {RAW: functional.normalize(texts).numpy()} | found
        mean = self.rungs[SHIFT].image_mean.numpy()
        shares = explained(images, mean, found)
        named = {f"r2_{name}": value for name, value in shares.items()}
        return modality_gap(images, split.caption_vectors) | named


def fitted_ladder(train: Split, val: Split, seed: int) -> Ladder:
    """All rungs, fitted on train; val chooses what is to be chosen.

    Args:
        train: its pairs are learned from.
        val: likewise held out.
        seed: of weights and batches of the rungs that have some.
    """
    rungs, cosines = {}, {}
    for name in FITTED:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            rungs[name] = Conditioning(train.image_vectors.shape[1], name)
        cosines[name] = rungs[name].fit(pairs_of(train), pairs_of(val), seed)
    return Ladder(rungs, cosines["ridge"])

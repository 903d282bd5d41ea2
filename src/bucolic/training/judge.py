"""CLIP as the judge of sampling settings, on the val split."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image

from bucolic.data.shards import Split
from bucolic.models.model import Model, picture_seed
from bucolic.seeing.clip.config import ClipConfig
from bucolic.training.guidance import Sampling, Scores, choose_sampling, match_scores

if TYPE_CHECKING:
    from bucolic.seeing.clip.towers import Towers


@dataclass(frozen=True)
class Judge:
    """Scores sampling settings by how surely CLIP finds each picture's prompt among all prompts.

    Attributes:
        model: the trained model.
        towers: the CLIP that its embeddings come from.
        val: the split whose captions are the prompts, one a picture.
        prompts: how many at most.
        seed: of the pictures' noise, the same for every setting.
    """

    model: Model
    towers: "Towers"
    val: Split
    prompts: int
    seed: int

    def __call__(self, sampling: Sampling) -> Scores:
        """One log probability for each prompt."""
        firsts = np.unique(self.val.caption_rows, return_index=True)[1][: self.prompts]
        vectors = self.val.caption_vectors[firsts]
        conditions = self.model.conditions_of_texts(vectors)
        seeds = [picture_seed(self.seed, "judged", place) for place in range(len(firsts))]
        drawn = self.model.draw(conditions, seeds, guidance=sampling.guidance, steps=sampling.steps)
        pictures = [Image.fromarray(p.transpose(1, 2, 0)) for p in drawn.numpy()]
        scale = float(torch.as_tensor(self.towers.model.logit_scale).exp())
        return match_scores(self.towers.embed_images(pictures), vectors, scale=scale)


def choose_on_val(
    model: Model,
    val: Split,
    clip: ClipConfig,
    *,
    guidances: Sequence[float],
    steps: Sequence[int],
    prompts: int,
    seed: int,
) -> Sampling:
    """Choose guidance and steps by CLIP's judgement of val's prompts; see guidance.py.

    One candidate each is taken as it is, without loading CLIP.
    """
    if len(guidances) == len(steps) == 1:
        return Sampling(guidances[0], steps[0])
    from bucolic.seeing.clip.towers import load_towers  # noqa: PLC0415 - heavy, and not always needed

    towers = load_towers(clip, model.device.type)
    judge = Judge(model, towers, val, prompts, seed)
    return choose_sampling(judge, guidances=guidances, steps=steps)

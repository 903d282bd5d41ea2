"""CLIP as the judge of sampling settings, on the val split."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from bucolic.clip.towers import Towers
from bucolic.data.shards import Split
from bucolic.models.generator import Generator, picture_seed
from bucolic.training.guidance import Sampling, Scores, match_scores


@dataclass(frozen=True)
class Judge:
    """Scores sampling settings by how surely CLIP finds each picture's prompt among all prompts.

    Attributes:
        generator: the trained model.
        towers: the CLIP that its embeddings come from.
        val: the split whose captions are the prompts, one a picture.
        prompts: how many at most.
        seed: of the pictures' noise, the same for every setting.
    """

    generator: Generator
    towers: Towers
    val: Split
    prompts: int
    seed: int

    def __call__(self, sampling: Sampling) -> Scores:
        """One log probability for each prompt."""
        firsts = np.unique(self.val.caption_rows, return_index=True)[1][: self.prompts]
        vectors = self.val.caption_vectors[firsts]
        conditions = self.generator.conditions_of_texts(vectors)
        seeds = [picture_seed(self.seed, "judged", place) for place in range(len(firsts))]
        drawn = self.generator.draw(
            conditions, seeds, guidance=sampling.guidance, steps=sampling.steps
        )
        pictures = [Image.fromarray(p.transpose(1, 2, 0)) for p in drawn.numpy()]
        scale = float(torch.as_tensor(self.towers.model.logit_scale).exp())
        return match_scores(self.towers.embed_images(pictures), vectors, scale=scale)

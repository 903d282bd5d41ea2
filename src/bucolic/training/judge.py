"""Sampling settings judged on the val split: by CLIP, which decides, and by what else can be seen.

The figures are those of evaluate, by the same functions; they stand in reports/sampling.json, so
that nobody needs the test split to see what another choice would have given.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split
from bucolic.models.model import Model, picture_seed
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import load_towers
from bucolic.seeing.jury import Jury, Views
from bucolic.seeing.metrics.attributes import agreement, all_right
from bucolic.seeing.metrics.intervals import of_mean, wilson
from bucolic.seeing.metrics.kid import LEAST, kid, on_sphere
from bucolic.seeing.metrics.sharpness import sharpness_ratio
from bucolic.seeing.probe import load_probe
from bucolic.seeing.prompts import OF_ANIMALS, Prompts, choose_prompts, first_half
from bucolic.training.guidance import (
    Choice,
    Sampling,
    Verdict,
    choose_sampling,
    match_scores,
)


@dataclass(frozen=True)
class Judge:
    """Draws val's prompts as a candidate says, and looks at the pictures.

    Attributes:
        model: the trained model.
        jury: the CLIP that its embeddings come from, and the probe for drawn scenes.
        scale: factor on the cosine before the softmax, CLIP's own.
        val: the split whose captions are the prompts.
        prompts: one a picture.
        seed: of the pictures' noise, the same for every candidate.
    """

    model: Model
    jury: Jury
    scale: float
    val: Split
    prompts: Prompts
    seed: int

    def __call__(self, sampling: Sampling) -> Verdict:
        """What the pictures are worth; `match` decides.

        Its figures: match, the mean log probability that CLIP gives a picture's prompt among all;
        kid and sharpness against val's pictures; for drawn scenes attributes_all_right and the
        accuracies of species, count and colour.
        """
        texts = self.val.caption_vectors[self.prompts.caption_rows]
        views = self.jury.look(self._drawn(texts, sampling))
        scores = match_scores(views.vectors, texts, scale=self.scale)
        figures: dict[str, float | None] = {
            "match": float(scores.mean()),
            "kid": self._kid(views),
            "sharpness": sharpness_ratio(views.pictures, self._real.pictures),
        }
        intervals = {"match": of_mean(scores)} if len(scores) > 1 else {}
        for name, right in self._right(views).items():
            given = right[np.isfinite(right)]
            figures[name] = float(given.mean()) if len(given) else None
            if len(given):
                intervals[name] = wilson(given.sum(), len(given))
        return Verdict(scores, figures, intervals)

    def _drawn(self, texts: np.ndarray, sampling: Sampling) -> np.ndarray:
        seeds = [picture_seed(self.seed, "judged", place) for place in range(len(texts))]
        conditions = self.model.conditions_of_texts(
            texts, [picture_seed(seed, "text") for seed in seeds]
        )
        drawn = self.model.draw(conditions, seeds, guidance=sampling.guidance, steps=sampling.steps)
        pictures: np.ndarray = drawn.numpy()
        return pictures

    def _kid(self, views: Views) -> float | None:
        """Pictures of one half of val's images against the real ones of the other."""
        half = first_half(self.val.image_ids[self.prompts.image_rows])
        if min(half.sum(), (~half).sum()) < LEAST:
            return None
        return kid(on_sphere(views.vectors[half]), on_sphere(self._real.vectors[~half]))

    def _right(self, views: Views) -> dict[str, np.ndarray]:
        """By figure, 1 for each prompt that is right, 0 where not, NaN where it is not judged."""
        if views.seen is None:
            return {}
        agreements = agreement(views.seen, self.prompts.stated)
        of_animals = {name: agreements[name] for name in OF_ANIMALS if name in agreements}
        return {
            "attributes_all_right": all_right(agreements),
            **of_animals,
        }

    @cached_property
    def _real(self) -> Views:
        return self.jury.look(self.val.images[self.prompts.image_rows])


def choose_on_val(
    model: Model,
    val: Split,
    attributes: Attributes | None,
    clip: ClipConfig,
    *,
    candidates: tuple[tuple[float, ...], tuple[int, ...]],
    limit: int,
    seed: int,
) -> tuple[Choice, dict[str, Any]]:
    """Choose guidance and steps by CLIP's judgement of val's prompts; see guidance.py.

    Args:
        model: the trained model.
        val: the split.
        attributes: what its scenes truly show, where the data set says so.
        clip: what loads the towers that its embeddings come from.
        candidates: guidances and steps.
        limit: most prompts.
        seed: of the pictures' noise.

    Returns:
        The choice, and the content of reports/sampling.json.
    """
    towers = load_towers(clip, model.device.type)
    jury = Jury(towers, None if attributes is None else load_probe())
    prompts = choose_prompts(val, attributes, limit=limit)
    judge = Judge(model, jury, towers.scale, val, prompts, seed)
    guidances, steps = candidates
    choice = choose_sampling(judge, guidances=guidances, steps=steps)
    return choice, _document(choice, judge)


def _document(choice: Choice, judge: Judge) -> dict[str, Any]:
    return {
        "candidates": [
            {**vars(sampling), "chosen": sampling == choice.sampling, **_written(verdict)}
            for sampling, verdict in choice.verdicts.items()
        ],
        "prompts": len(judge.prompts),
        "seed": judge.seed,
        "judge": judge.jury.name,
    }


def _written(verdict: Verdict) -> dict[str, Any]:
    ends = {name: list(map(_rounded, interval)) for name, interval in verdict.intervals.items()}
    figures = {name: _rounded(value) for name, value in verdict.figures.items()}
    return {**figures, "intervals": ends}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)

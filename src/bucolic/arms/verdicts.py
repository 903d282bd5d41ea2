"""An arm before the jury: guidance chosen on val, pictures of test's prompts judged, nothing else.

Dimensions: p prompts, d draws, e embedding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from bucolic.arms.conditions import Ladder
from bucolic.arms.table import Arm, Training
from bucolic.arms.trainings import drawn
from bucolic.base.errors import ParamsError
from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split
from bucolic.evaluation.contrast import Contrast
from bucolic.evaluation.scores import Exam, Sitting, by_judge, hits
from bucolic.evaluation.study import exam_on
from bucolic.models.cvae.config import CvaeTrainConfig
from bucolic.models.cvae.model import Cvae
from bucolic.models.model import picture_seed
from bucolic.seeing.clip.towers import Towers
from bucolic.seeing.jury import Jury, embedded
from bucolic.seeing.metrics.attributes import agreement, all_right
from bucolic.seeing.prompts import Prompts, choose_prompts
from bucolic.training.guidance import Sampling, Verdict, choose_sampling, match_scores

GUIDANCES = (1.0, 2.0, 3.0, 4.0, 6.0)
LEAST_PROMPTS = 2
Outcomes = dict[str, np.ndarray]


@dataclass(frozen=True)
class Asked:
    """Prompts of one split, each with the picture that it is a caption of.

    Attributes:
        prompts: p of them.
        images: float32 [p, e], raw embeddings of the pictures.
        texts: float32 [p, e], of the prompts.
    """

    prompts: Prompts
    images: np.ndarray
    texts: np.ndarray

    @classmethod
    def of(cls, split: Split, attributes: Attributes | None, limit: int) -> "Asked":
        """At most `limit` prompts of a split, one a picture."""
        prompts = choose_prompts(split, attributes, limit=limit)
        images = split.image_vectors[prompts.image_rows]
        return cls(prompts, images, split.caption_vectors[prompts.caption_rows])

    def repeated(self, draws: int) -> "Asked":
        """Each prompt several times, one after the other."""
        rows = np.repeat(np.arange(len(self.prompts)), draws)
        return Asked(self.prompts.take(rows), self.images[rows], self.texts[rows])


@dataclass(frozen=True)
class Court:
    """Who judges, and what is asked.

    Attributes:
        jury: looks at the pictures.
        scale: on cosines before the softmax by which guidance is chosen, the CLIP's own.
        val: guidance is chosen by these prompts.
        exam: of the test prompts, each repeated `draws` times.
        test: these prompts, likewise.
        steps: of the sampler.
    """

    jury: Jury
    scale: float
    val: Asked
    exam: Exam
    test: Asked
    steps: int

    def tries(
        self, model: Cvae, arm: Arm, training: Training, ladder: Ladder, seed: int
    ) -> tuple[Sampling, Outcomes]:
        """Choose an arm's guidance on val, and judge what it draws of test's prompts."""
        conditions = ladder.prompted(arm, training, self.val.images, self.val.texts, seed)
        sampling = self._chosen(model, conditions, seed)
        conditions = ladder.prompted(arm, training, self.test.images, self.test.texts, seed)
        pictures = drawn(model, conditions, _seeds(seed, "test", len(conditions)), sampling)
        return sampling, self.outcomes(pictures.numpy())

    def _chosen(self, model: Cvae, conditions: torch.Tensor, seed: int) -> Sampling:
        seeds = _seeds(seed, "val", len(conditions))

        def judge(sampling: Sampling) -> Verdict:
            pictures = drawn(model, conditions, seeds, sampling).numpy()
            vectors = embedded(self.jury.towers, pictures)
            return Verdict(match_scores(vectors, self.val.texts, scale=self.scale), {}, {})

        return choose_sampling(judge, guidances=GUIDANCES, steps=[self.steps]).sampling

    def outcomes(self, pictures: np.ndarray) -> Outcomes:
        """By figure, float [p]: the mean of a prompt's draws, NaN where it is not judged."""
        views = self.jury.look(pictures)
        sitting = Sitting(views, self.exam)
        outcomes = {"r_precision": hits(self.exam, *by_judge(sitting))}
        if views.seen is not None:
            agreements = agreement(views.seen, self.exam.prompts.stated)
            outcomes |= {"all_right": all_right(agreements), "species": agreements["species"]}
        return {name: self.exam.by_prompt(values) for name, values in outcomes.items()}


def opened(
    jury: Jury,
    towers: Towers,
    splits: Mapping[str, Split],
    attributes: Attributes | None,
    *,
    config: CvaeTrainConfig,
    prompts: int,
    draws: int,
) -> Court:
    """The court of a data set.

    Args:
        jury: looks at the pictures.
        towers: of the embeddings.
        splits: "val" and "test".
        attributes: what their scenes truly show, where the data set says so.
        config: how many prompts of val there are at most, and the steps of the sampler.
        prompts: at most, of test.
        draws: pictures of each.

    Raises:
        ParamsError: there are too few prompts.
    """
    val = Asked.of(splits["val"], attributes, config.judged_prompts)
    test = Asked.of(splits["test"], attributes, prompts)
    if not len(val.prompts) or len(test.prompts) < LEAST_PROMPTS:
        raise ParamsError(
            f"val has {len(val.prompts)} prompts and test {len(test.prompts)}: too few to compare"
        )
    contrast = Contrast(splits["test"], attributes)
    exam = exam_on(test.prompts, splits["test"], contrast, jury, seed=0).repeated(draws)
    if jury.probe is None and len(exam.asked) < LEAST_PROMPTS * draws:
        raise ParamsError("too few prompts of test have 99 captions that contradict them")
    if jury.probe is not None and sum(map(bool, test.prompts.stated)) < LEAST_PROMPTS:
        raise ParamsError("too few prompts of test state what can be seen in a picture")
    return Court(jury, towers.scale, val, exam, test.repeated(draws), max(config.steps))


def _seeds(seed: int, of_split: str, count: int) -> list[int]:
    """Of the noise: the same for all arms of a seed, so that they compare in pairs."""
    return [picture_seed(seed, of_split, place) for place in range(count)]

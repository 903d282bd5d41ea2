"""The evaluation itself: every arm's pictures, judged on the prompts of the held-out test split.

Nothing is chosen here: guidance, steps and weights are the model's own, fixed on val.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bucolic.data.coco import Attributes
from bucolic.data.shards import Split
from bucolic.evaluation.bounds import mean_picture, nearest_by_text
from bucolic.evaluation.contrast import Contrast, derangement, distractors
from bucolic.evaluation.figures import Figures, absent, under
from bucolic.evaluation.scores import Exam, Sitting, measured
from bucolic.evaluation.table import ARMS, MODEL, RECONSTRUCTION, Arm, names
from bucolic.seeing.jury import Jury, Views
from bucolic.seeing.prompts import HELD_OUT, TRIPLE, Prompts, choose_prompts, first_half

SHUFFLED = "shuffled_prompts"


class Artist(Protocol):
    """The part of `bucolic.models.trained.TrainedModel` that is evaluated."""

    def draw(self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """Pictures of prompts, uint8 [p, n, 3, s, s]."""

    def reconstruct(self, images: np.ndarray, image_vectors: np.ndarray) -> np.ndarray:
        """Decoded posterior means, uint8 [n, 3, s, s]."""


@dataclass(frozen=True)
class Study:
    """What is evaluated, on what, and by whom.

    Attributes:
        test: the held-out split; train serves the bounds alone.
        attributes: what the scenes truly show, where the data set says so.
        artist: the trained model.
        jury: who looks at the pictures.
        limit: most prompts of either slice.
        seed: seed of generation, distractors, derangement and bootstrap.
    """

    test: Split
    train: Split
    attributes: Attributes | None
    artist: Artist
    jury: Jury
    limit: int
    seed: int


@dataclass(frozen=True)
class Findings:
    """Figures under their names in evaluate.json, with the pictures they were taken from.

    Attributes:
        figures: dotted name to figure.
        counts: how many prompts, pictures and judgements stand behind them.
        prompts: p texts.
        arms: arm to its uint8 [p, 3, s, s]; "model" is the model's.
    """

    figures: Figures
    counts: dict[str, Any]
    prompts: tuple[str, ...]
    arms: dict[str, np.ndarray]


def on_ordinary_prompts(study: Study) -> Findings:
    """Judge the model and its five bounds on scenes of the training distribution."""
    prompts = choose_prompts(study.test, study.attributes, limit=study.limit)
    if not len(prompts):
        prefixes = [arm.place for arm in ARMS]
        return _nothing(prefixes, "the test split has no ordinary image", names())
    contrast = Contrast(study.test, study.attributes)
    exam = _exam(study, contrast, prompts)
    half = first_half(study.test.image_ids[prompts.image_rows])
    arms = _arms(study, prompts) | _pixel_bounds(study, prompts)
    pictures, others = derangement(contrast, prompts, seed=study.seed)
    figures: Figures = {}
    for arm in ARMS:
        if arm.name == SHUFFLED:
            found = _shuffled_figures(arms[MODEL], exam, pictures, others)
        else:
            found = _arm_figures(arm, arms, exam, half)
        figures |= under(arm.place, found)
    halves = {"generated": int(half.sum()), "reference": int((~half).sum())}
    counts = {
        **_counts(exam, arms[MODEL]),
        "kid_pictures": halves,
        "shuffled_prompts": len(pictures),
    }
    return _findings(study, prompts, figures, counts, arms)


def on_held_out_combinations(study: Study) -> Findings:
    """Judge the model on the combinations that training never showed, each named in its prompt."""
    prompts = choose_prompts(
        study.test, study.attributes, limit=study.limit, of_slice=HELD_OUT, must_state=TRIPLE
    )
    judged = [arm for arm in ARMS if arm.of_held_out]
    if not len(prompts):
        reason = "the test split has no image of a held-out combination"
        return _nothing([arm.held_out_place for arm in judged], reason, names("prompts"))
    exam = _exam(study, Contrast(study.test, study.attributes), prompts)
    arms = _arms(study, prompts)
    figures: Figures = {}
    for arm in judged:
        found = measured(Sitting(arms[arm.name], exam), "prompts")
        figures |= under(arm.held_out_place, found)
    return _findings(study, prompts, figures, _counts(exam, arms[MODEL]), arms)


def _exam(study: Study, contrast: Contrast, prompts: Prompts) -> Exam:
    asked, rivals = distractors(contrast, prompts, study.test.caption_ids, seed=study.seed)
    return Exam(
        prompts=prompts,
        caption_vectors=study.test.caption_vectors,
        asked=asked,
        rivals=rivals,
        attributes_known=study.attributes is not None,
        seed=study.seed,
    )


def _arms(study: Study, prompts: Prompts) -> dict[str, Views]:
    """The pictures that answer a prompt: the model's, the true one, the nearest in training."""
    texts = study.test.caption_vectors[prompts.caption_rows]
    drawn = study.artist.draw(texts, n=1, seed=study.seed)[:, 0]
    pictures = {
        MODEL: drawn,
        "real": study.test.images[prompts.image_rows],
        "retrieval": study.train.images[nearest_by_text(study.train, texts)],
    }
    return {arm: study.jury.look(drawn) for arm, drawn in pictures.items()}


def _pixel_bounds(study: Study, prompts: Prompts) -> dict[str, Views]:
    """The pictures that stand for the test image itself: its reconstruction, and the mean."""
    test, rows = study.test, prompts.image_rows
    decoded = study.artist.reconstruct(test.images[rows], test.image_vectors[rows])
    mean = study.jury.look(mean_picture(study.train))
    return {
        RECONSTRUCTION: study.jury.look(decoded),
        "mean_image": mean.take(np.zeros_like(rows)),
    }


def _arm_figures(arm: Arm, arms: dict[str, Views], exam: Exam, half: np.ndarray) -> Figures:
    sitting = Sitting(arms[arm.name], exam, arms["real"], arms.get(arm.rebuilt), half)
    return measured(sitting, "prompts", "reconstructions", "pictures")


def _shuffled_figures(
    drawn: Views, exam: Exam, pictures: np.ndarray, others: np.ndarray
) -> Figures:
    sitting = Sitting(drawn.take(pictures), exam.take(others))
    return measured(sitting, "prompts", "reconstructions", "pictures")


def _nothing(prefixes: Iterable[str], reason: str, metrics: Iterable[str]) -> Findings:
    figures: Figures = {}
    for prefix in prefixes:
        figures |= under(prefix, {name: absent(reason) for name in metrics})
    return Findings(figures, {"prompts": 0, "r_precision_prompts": 0}, (), {})


def _counts(exam: Exam, views: Views) -> dict[str, Any]:
    """Prompts judged in all, by R-precision, and on each attribute that the probe can see."""
    stated = Counter(name for says in exam.prompts.stated for name in says)
    return {
        "prompts": len(exam.prompts),
        "r_precision_prompts": len(exam.asked),
        "attributes": {name: stated[name] for name in sorted(views.seen or {})},
    }


def _findings(
    study: Study,
    prompts: Prompts,
    figures: Figures,
    counts: dict[str, Any],
    arms: dict[str, Views],
) -> Findings:
    texts = tuple(study.test.captions[row] for row in prompts.caption_rows)
    return Findings(figures, counts, texts, {arm: views.pictures for arm, views in arms.items()})

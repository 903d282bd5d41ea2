"""The evaluation itself: every arm's pictures, judged on the prompts of the held-out test split.

Nothing is chosen here: guidance, steps and weights are the model's own, fixed on val.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split
from bucolic.evaluation.bounds import mean_picture, nearest_by_text
from bucolic.evaluation.condition_use import condition_use
from bucolic.evaluation.contrast import Contrast, derangement, distractors
from bucolic.evaluation.denoising import denoising
from bucolic.evaluation.diversity import PROMPTS, SAMPLES, diversity
from bucolic.evaluation.figures import Figures, absent, finite, under
from bucolic.evaluation.likelihood import likelihood
from bucolic.evaluation.memorisation import memorisation
from bucolic.evaluation.scores import Exam, Sitting, cosines, measured
from bucolic.evaluation.table import ARMS, BEST_OF, MODEL, RECONSTRUCTION, Arm, names
from bucolic.seeing.jury import Jury, Views
from bucolic.seeing.prompts import HELD_OUT, TRIPLE, Prompts, choose_prompts, first_half

SHUFFLED = "shuffled_prompts"


class Artist(Protocol):
    """The part of `bucolic.models.trained.TrainedModel` that is evaluated."""

    def draw(self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """Pictures of prompts, uint8 [p, n, 3, s, s]."""

    def reconstruct(self, images: np.ndarray, image_vectors: np.ndarray) -> np.ndarray:
        """Decoded posterior means, uint8 [n, 3, s, s]."""

    def draw_of_images(self, image_vectors: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """A picture drawn from each picture's own embedding, uint8 [n, 3, s, s]."""

    def noised(
        self, images: np.ndarray, image_vectors: np.ndarray, *, level: float, seed: int = 0
    ) -> np.ndarray | None:
        """Pictures through latents with noise on them."""

    def likelihood(
        self, images: np.ndarray, image_vectors: np.ndarray, *, seed: int = 0
    ) -> Mapping[str, np.ndarray] | None:
        """Parts of the bound on the log likelihood, in nats."""


@dataclass(frozen=True)
class Study:
    """What is evaluated, on what, and by whom.

    Attributes:
        test: the held-out split; train serves the bounds alone.
        attributes: what the scenes truly show, where the data set says so.
        artist: the trained model.
        jury: who looks at the pictures.
        limit: most prompts of either slice.
        draws: pictures of each prompt.
        seed: seed of generation, distractors, derangement and bootstrap.
    """

    test: Split
    train: Split
    attributes: Attributes | None
    artist: Artist
    jury: Jury
    limit: int
    draws: int
    seed: int

    @cached_property
    def contrast(self) -> Contrast:
        """What test's captions contradict."""
        return Contrast(self.test, self.attributes)


@dataclass(frozen=True)
class Findings:
    """Figures under their names in evaluate.json, with the pictures they were taken from.

    Attributes:
        figures: dotted name to figure.
        counts: how many prompts, pictures and judgements stand behind them.
        prompts: p texts.
        arms: arm to its uint8 [p, 3, s, s]; of the model the first draw of each prompt.
        sitting: all of the model's pictures before the jury; None where there is no prompt.
        copies_caught: by kind of copies and name of the set, whether a test of memorisation caught
            it; see evaluation/memorisation.py.
    """

    figures: Figures
    counts: dict[str, Any]
    prompts: tuple[str, ...]
    arms: dict[str, np.ndarray]
    sitting: Sitting | None = None
    copies_caught: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)


def on_ordinary_prompts(study: Study) -> Findings:
    """Judge the model and its bounds on scenes of the training distribution."""
    prompts = choose_prompts(study.test, study.attributes, limit=study.limit)
    if not len(prompts):
        prefixes = [arm.place for arm in ARMS]
        return _nothing(prefixes, "the test split has no ordinary image", names())
    exam = _exam(study, prompts)
    half = first_half(study.test.image_ids[prompts.image_rows])
    arms = _arms(study, exam) | _pixel_bounds(study, prompts)
    sittings = {arm.name: _sitting(arm, arms, exam, half) for arm in ARMS if arm.name in arms}
    pictures, others = derangement(study.contrast, prompts, seed=study.seed)
    sittings[SHUFFLED] = Sitting(sittings[MODEL].firsts.take(pictures), exam.take(others))
    figures: Figures = {}
    for arm in ARMS:
        found = measured(sittings[arm.name], "prompts", "reconstructions", "pictures")
        figures |= under(arm.place, found)
    halves = {"generated": int(half.sum()), "reference": int((~half).sum())}
    counts = {
        **_counts(exam, arms[MODEL]),
        "kid_pictures": halves,
        "shuffled_prompts": len(pictures),
    }
    return _with_more(study, _findings(study, figures, counts, sittings), sittings[MODEL])


def _with_more(study: Study, found: Findings, sitting: Sitting) -> Findings:
    """The same with what is asked of the model alone: memory, variety, and what decides."""
    seed, test = study.seed, study.test
    of_test = study.artist, test.images, test.image_vectors, seed
    memory = memorisation(sitting, study.train, study.jury, study.artist.reconstruct, seed)
    prompts = sitting.exam.prompts.take(_firsts(sitting)[:PROMPTS])
    texts = test.caption_vectors[prompts.caption_rows]
    varied = study.artist.draw(texts, n=SAMPLES, seed=seed + 1)
    figures = {
        **under("memorisation", memory.figures),
        **under("diversity", diversity(varied, prompts, test, study.attributes, study.jury)),
        **under("condition_use", condition_use(*of_test)),
        **under("likelihood", likelihood(*of_test)),
        **under("denoising", _denoising(study, sitting)),
    }
    return replace(
        found,
        figures=found.figures | finite(figures),
        copies_caught={"controls": memory.controls, "decoded": memory.decoded},
    )


def _denoising(study: Study, sitting: Sitting) -> Figures:
    prompts = sitting.exam.prompts.take(_firsts(sitting))
    return denoising(study.artist, study.test, prompts, study.attributes, study.jury, study.seed)


def _firsts(sitting: Sitting) -> np.ndarray:
    """The row of each prompt's first picture."""
    return np.arange(0, len(sitting.exam.prompts), sitting.exam.draws)


def on_held_out_combinations(study: Study) -> Findings:
    """Judge the model on the combinations that training never showed, each named in its prompt."""
    prompts = choose_prompts(
        study.test, study.attributes, limit=study.limit, of_slice=HELD_OUT, must_state=TRIPLE
    )
    judged = [arm for arm in ARMS if arm.of_held_out]
    if not len(prompts):
        reason = "the test split has no image of a held-out combination"
        return _nothing([arm.held_out_place for arm in judged], reason, names("prompts"))
    exam = _exam(study, prompts)
    arms = _arms(study, exam)
    sittings = {arm.name: _sitting(arm, arms, exam) for arm in judged}
    figures: Figures = {}
    for arm in judged:
        figures |= under(arm.held_out_place, measured(sittings[arm.name], "prompts"))
    return _findings(study, figures, _counts(exam, arms[MODEL]), sittings)


def exam_on(prompts: Prompts, test: Split, contrast: Contrast, jury: Jury, seed: int) -> Exam:
    """The exam of one picture for each prompt.

    Args:
        prompts: captions of the test split.
        test: that split.
        contrast: which of its captions contradict one another.
        jury: who looks at the pictures.
        seed: of the distractors and of bootstraps.
    """
    asked, rivals = distractors(contrast, prompts, test.caption_ids, seed=seed)
    return Exam(
        prompts=prompts,
        captions=jury.read(test.captions, test.caption_vectors),
        asked=asked,
        rivals=rivals,
        attributes_known=contrast.knows_attributes,
        seed=seed,
    )


def _exam(study: Study, prompts: Prompts) -> Exam:
    return exam_on(prompts, study.test, study.contrast, study.jury, study.seed)


def _arms(study: Study, exam: Exam) -> dict[str, Views]:
    """The pictures that answer a prompt: the model's, the true one, the nearest in training."""
    prompts = exam.prompts
    texts = study.test.caption_vectors[prompts.caption_rows]
    drawn = study.artist.draw(texts, n=study.draws, seed=study.seed)
    pictures = {
        MODEL: drawn.reshape(-1, *drawn.shape[2:]),
        "real": study.test.images[prompts.image_rows],
        "retrieval": study.train.images[nearest_by_text(study.train, texts)],
    }
    arms = {arm: study.jury.look(shown) for arm, shown in pictures.items()}
    return arms | {BEST_OF: _picked(arms[MODEL], exam.repeated(study.draws))}


def _picked(drawn: Views, exam: Exam) -> Views:
    """Of each prompt's draws the one nearest to it by the conditioning CLIP."""
    best = cosines(drawn, exam).reshape(-1, exam.draws).argmax(axis=1)
    return drawn.take(np.arange(len(best)) * exam.draws + best)


def _pixel_bounds(study: Study, prompts: Prompts) -> dict[str, Views]:
    """The pictures that stand for the test image itself: its reconstruction, and the mean."""
    test, rows = study.test, prompts.image_rows
    decoded = study.artist.reconstruct(test.images[rows], test.image_vectors[rows])
    mean = study.jury.look(mean_picture(study.train))
    return {
        RECONSTRUCTION: study.jury.look(decoded),
        "mean_image": mean.take(np.zeros_like(rows)),
    }


def _sitting(
    arm: Arm, arms: dict[str, Views], exam: Exam, half: np.ndarray | None = None
) -> Sitting:
    """An arm's pictures; without halves, those that prompts alone are asked of."""
    views = arms[arm.name]
    draws = len(views.pictures) // len(exam.prompts)
    return Sitting(
        views,
        exam.repeated(draws),
        real=None if half is None else arms["real"],
        rebuilt=arms.get(arm.rebuilt),
        half=half,
        picked=arm.name == BEST_OF,
    )


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
    study: Study, figures: Figures, counts: dict[str, Any], sittings: dict[str, Sitting]
) -> Findings:
    rows = sittings["real"].exam.prompts.caption_rows
    texts = tuple(study.test.captions[row] for row in rows)
    shown = {arm: sitting.firsts.pictures for arm, sitting in sittings.items()}
    return Findings(figures, counts, texts, shown, sittings[MODEL])

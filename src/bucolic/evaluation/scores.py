"""The figures of one set of pictures: true to the prompt, and like what is real."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bucolic.base.loading import loaded
from bucolic.evaluation import table
from bucolic.evaluation.figures import Figure, Figures, absent
from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.evaluation.metrics.r_precision import r_precision_hits
from bucolic.evaluation.metrics.ssim import WINDOW_PX, ssim
from bucolic.evaluation.table import Of
from bucolic.seeing.jury import Views
from bucolic.seeing.metrics.attributes import accuracies, agreement, all_right
from bucolic.seeing.metrics.intervals import bootstrap_mean_of_means, normal, wilson
from bucolic.seeing.metrics.kid import kid, kid_interval, on_sphere
from bucolic.seeing.metrics.sharpness import sharpness_ratio
from bucolic.seeing.metrics.similarity import clip_similarity
from bucolic.seeing.prompts import OF_ANIMALS, Prompts

LEAST_PROMPTS = 200
LEAST_IN_HALF = 50
ENDLESS = "its value is no finite number"
NO_PROMPT = "there is no prompt to judge"
NO_ATTRIBUTES = "the data set has no attributes file, so what its captions state is not known"
NOT_A_RECONSTRUCTION = "this arm does not reconstruct the test image"
SAME_PICTURES = "these are the model's own pictures; the order of the prompts does not enter"


@dataclass(frozen=True)
class Exam:
    """What pictures are examined on.

    Attributes:
        prompts: p prompts, picture i being made for prompt i.
        caption_vectors: float32 [m, e], the test split's captions.
        asked: int64 [k], the prompts that have enough distractors.
        rivals: int64 [k, 99], caption rows that contradict those prompts.
        attributes_known: whether the data set says what captions state.
        seed: seed of the bootstrap.
    """

    prompts: Prompts
    caption_vectors: np.ndarray
    asked: np.ndarray
    rivals: np.ndarray
    attributes_known: bool
    seed: int

    def take(self, rows: np.ndarray) -> "Exam":
        """The exam of the prompts at `rows` alone, in that order; no row may repeat."""
        place = {int(prompt): at for at, prompt in enumerate(self.asked)}
        kept = [(new, place[int(row)]) for new, row in enumerate(rows) if int(row) in place]
        asked = np.array([new for new, _ in kept], dtype=np.int64)
        rivals = self.rivals[[at for _, at in kept]]
        return Exam(
            self.prompts.take(rows),
            self.caption_vectors,
            asked,
            rivals,
            self.attributes_known,
            self.seed,
        )


@dataclass(frozen=True)
class Sitting:
    """Pictures, with all that a metric may hold them against.

    Attributes:
        views: p pictures, picture i made for (or being) the image of prompt i.
        exam: the p prompts.
        real: p real pictures, those of the prompts' images; None where the pictures were not made
            for them.
        rebuilt: what stands for these images pixel by pixel, None where nothing does.
        half: bool [p], whether the prompt's image falls into the first half.
    """

    views: Views
    exam: Exam
    real: Views | None = None
    rebuilt: Views | None = None
    half: np.ndarray | None = None


def measured(sitting: Sitting, *of: Of) -> Figures:
    """The figures of all metrics that apply to what is named; see table.py.

    Without a prompt, none that is of prompts is asked; a value that is no finite number is none.
    """
    found: Figures = {}
    for metric in table.METRICS:
        if metric.of not in of:
            continue
        if metric.of == "prompts" and not len(sitting.exam.prompts):
            found[metric.name] = absent(NO_PROMPT)
        else:
            found |= loaded(metric.function)(sitting)
    return {name: _finite(figure) for name, figure in found.items()}


def _finite(figure: Figure) -> Figure:
    """The figure as JSON can hold it: no value, or no interval, where one is not finite."""
    if figure.value is not None and not math.isfinite(figure.value):
        return absent(ENDLESS)
    if figure.interval and not all(map(math.isfinite, figure.interval)):
        return replace(figure, interval=None)
    return figure


def attributes_all_right(sitting: Sitting) -> Figures:
    """Share of prompts whose stated attributes are all right."""
    agreements = _agreements(sitting)
    if isinstance(agreements, Figure):
        return {"attributes_all_right": agreements}
    right = all_right(agreements)
    none_stated = absent("no prompt states an attribute that can be judged")
    return {"attributes_all_right": _share(right) if len(right) else none_stated}


def attribute_accuracy(sitting: Sitting) -> Figures:
    """Mean accuracy of what is said of the animals, and the accuracy of each attribute."""
    agreements = _agreements(sitting)
    if isinstance(agreements, Figure):
        return {"attribute_accuracy": agreements}
    return {
        **{f"attributes.{name}": _share(values) for name, values in agreements.items()},
        "attribute_accuracy": _accuracy_of_animals(agreements, sitting.exam.seed),
    }


def r_precision(sitting: Sitting) -> Figures:
    """Share of pictures that find their own prompt among distractors."""
    return {"r_precision": _r_precision(sitting.views, sitting.exam)}


def similarity(sitting: Sitting) -> Figures:
    """Mean cosine of the pictures with their prompts."""
    exam = sitting.exam
    texts = exam.caption_vectors[exam.prompts.caption_rows]
    return {"clip_similarity": _mean(clip_similarity(sitting.views.vectors, texts))}


def psnr(sitting: Sitting) -> Figures:
    """Peak signal-to-noise ratio of what was rebuilt."""
    if sitting.rebuilt is None or sitting.real is None:
        return {"psnr_db": absent(NOT_A_RECONSTRUCTION)}
    values = psnr_db(sitting.rebuilt.pictures, sitting.real.pictures)
    identical = bool(np.isinf(values).any())
    equal = absent("some pictures equal their references")
    return {"psnr_db": equal if identical else _mean(values)}


def likeness(sitting: Sitting) -> Figures:
    """Structural similarity of what was rebuilt."""
    if sitting.rebuilt is None or sitting.real is None:
        return {"ssim": absent(NOT_A_RECONSTRUCTION)}
    pictures, references = sitting.rebuilt.pictures, sitting.real.pictures
    if min(references.shape[2:]) < WINDOW_PX:
        return {"ssim": absent(f"pictures below {WINDOW_PX} px have no window to compare")}
    return {"ssim": _mean(ssim(pictures, references))}


def sharpness(sitting: Sitting) -> Figures:
    """Laplacian energy of the pictures over that of the real ones."""
    if sitting.real is None:
        return {"sharpness_ratio": absent(SAME_PICTURES)}
    ratio = sharpness_ratio(sitting.views.pictures, sitting.real.pictures)
    flat = absent("the references are flat")
    return {"sharpness_ratio": flat if ratio is None else Figure(ratio)}


def distance(sitting: Sitting) -> Figures:
    """KID of the pictures in one half against the real pictures in the other."""
    if sitting.real is None or sitting.half is None:
        return {"kid": absent(SAME_PICTURES)}
    made, real = sitting.views.vectors[sitting.half], sitting.real.vectors[~sitting.half]
    fewest = min(len(made), len(real))
    if fewest < LEAST_IN_HALF:
        reason = f"needs {LEAST_IN_HALF} pictures in each half of the test images, found {fewest}"
        return {"kid": absent(reason)}
    left, right = on_sphere(made), on_sphere(real)
    interval = kid_interval(left, right, seed=sitting.exam.seed)
    return {"kid": Figure(kid(left, right), interval=interval)}


def _agreements(sitting: Sitting) -> dict[str, np.ndarray] | Figure:
    """What the probe sees against what the prompts state, or why that is not known."""
    exam, seen = sitting.exam, sitting.views.seen
    if not exam.attributes_known or seen is None:
        return absent(NO_ATTRIBUTES)
    return agreement(seen, exam.prompts.stated)


def _accuracy_of_animals(agreements: Mapping[str, np.ndarray], seed: int) -> Figure:
    of_animals = {name: agreements[name] for name in OF_ANIMALS if name in agreements}
    shares = [share for share in accuracies(of_animals).values() if share is not None]
    if len(shares) < len(OF_ANIMALS):
        return absent(f"no prompt states all of {', '.join(OF_ANIMALS)}")
    interval = bootstrap_mean_of_means(list(of_animals.values()), seed=seed)
    return Figure(float(np.mean(shares)), interval=interval)


def _r_precision(views: Views, exam: Exam) -> Figure:
    if len(exam.asked) < LEAST_PROMPTS:
        found = len(exam.asked)
        return absent(f"needs {LEAST_PROMPTS} prompts with 99 distractors each, found {found}")
    own = exam.prompts.caption_rows[exam.asked]
    hits = r_precision_hits(views.vectors[exam.asked], exam.caption_vectors, own, exam.rivals)
    return _share(hits)


def _share(outcomes: np.ndarray) -> Figure:
    """Share of right outcomes with its Wilson interval; NaN marks a prompt that was not asked."""
    given = outcomes[~np.isnan(outcomes)] if outcomes.dtype.kind == "f" else outcomes
    if not len(given):
        return absent("no prompt states it")
    right = int(np.sum(given))
    return Figure(right / len(given), interval=wilson(right, len(given)))


def _mean(values: np.ndarray) -> Figure:
    return Figure(float(np.mean(values)), interval=normal(values) if len(values) > 1 else None)

"""The figures of one set of pictures: true to the prompt, and like what is real."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bucolic.evaluation.figures import Figure, Figures, absent
from bucolic.evaluation.jury import Views
from bucolic.evaluation.metrics.attributes import accuracies, agreement, all_right
from bucolic.evaluation.metrics.intervals import bootstrap_mean_of_means, normal, wilson
from bucolic.evaluation.metrics.kid import kid, kid_interval, on_sphere
from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.evaluation.metrics.r_precision import r_precision_hits
from bucolic.evaluation.metrics.sharpness import sharpness_ratio
from bucolic.evaluation.metrics.similarity import clip_similarity
from bucolic.evaluation.metrics.ssim import WINDOW_PX, ssim
from bucolic.evaluation.prompts import OF_ANIMALS, Prompts

LEAST_PROMPTS = 200
LEAST_IN_HALF = 50
NO_ATTRIBUTES = "the data set has no attributes file, so what its captions state is not known"


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


def faithfulness(views: Views, exam: Exam) -> Figures:
    """How true pictures are to their prompts: attributes, R-precision and CLIP similarity."""
    if not len(exam.prompts):
        names = ["attribute_accuracy", "attributes_all_right", "r_precision", "clip_similarity"]
        return {name: absent("there is no prompt to judge") for name in names}
    texts = exam.caption_vectors[exam.prompts.caption_rows]
    return {
        **_attribute_figures(views, exam),
        "r_precision": _r_precision(views, exam),
        "clip_similarity": _mean(clip_similarity(views.vectors, texts)),
    }


def reconstruction(pictures: np.ndarray, references: np.ndarray) -> Figures:
    """How like their references pictures are, pixel by pixel; uint8 [p, 3, s, s] both."""
    values = psnr_db(pictures, references)
    identical = bool(np.isinf(values).any())
    if min(references.shape[2:]) < WINDOW_PX:
        likeness = absent(f"pictures below {WINDOW_PX} px have no window to compare")
    else:
        likeness = _mean(ssim(pictures, references))
    return {
        "psnr_db": absent("some pictures equal their references") if identical else _mean(values),
        "ssim": likeness,
    }


def sharpness(pictures: np.ndarray, references: np.ndarray) -> Figures:
    """Laplacian energy of pictures over that of references; uint8 [p, 3, s, s] both."""
    ratio = sharpness_ratio(pictures, references)
    return {
        "sharpness_ratio": absent("the references are flat") if ratio is None else Figure(ratio)
    }


def distance(views: Views, reference: Views, half: np.ndarray, *, seed: int) -> Figures:
    """KID of the pictures in one half against the reference pictures in the other.

    Args:
        views: p pictures, picture i made for (or being) the image of prompt i.
        reference: p real pictures, those of the prompts' images.
        half: bool [p], whether the prompt's image falls into the first half.
        seed: seed of the bootstrap.
    """
    made, real = views.vectors[half], reference.vectors[~half]
    fewest = min(len(made), len(real))
    if fewest < LEAST_IN_HALF:
        reason = f"needs {LEAST_IN_HALF} pictures in each half of the test images, found {fewest}"
        return {"kid": absent(reason)}
    left, right = on_sphere(made), on_sphere(real)
    return {"kid": Figure(kid(left, right), interval=kid_interval(left, right, seed=seed))}


def _attribute_figures(views: Views, exam: Exam) -> Figures:
    if not exam.attributes_known or views.seen is None:
        both = ("attribute_accuracy", "attributes_all_right")
        return {name: absent(NO_ATTRIBUTES) for name in both}
    agreements = agreement(views.seen, exam.prompts.stated)
    right = all_right(agreements)
    none_stated = absent("no prompt states an attribute that can be judged")
    return {
        **{f"attributes.{name}": _share(values) for name, values in agreements.items()},
        "attribute_accuracy": _attribute_accuracy(agreements, exam.seed),
        "attributes_all_right": _share(right) if len(right) else none_stated,
    }


def _attribute_accuracy(agreements: Mapping[str, np.ndarray], seed: int) -> Figure:
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

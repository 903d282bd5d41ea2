"""The figures of one set of pictures: true to the prompt, and like what is real."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from bucolic.base.loading import loaded
from bucolic.evaluation import table
from bucolic.evaluation.figures import Figure, Figures, absent, finite, mean_figure
from bucolic.evaluation.metrics.cmmd import cmmd, cmmd_interval
from bucolic.evaluation.metrics.coverage import densities_and_covered
from bucolic.evaluation.metrics.fid import frechet_distance
from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.evaluation.metrics.r_precision import r_precision_hits
from bucolic.evaluation.metrics.ssim import WINDOW_PX, ssim
from bucolic.evaluation.table import Of
from bucolic.seeing.jury import Captions, Views
from bucolic.seeing.metrics.attributes import accuracies, agreement, all_right
from bucolic.seeing.metrics.intervals import (
    bootstrap_mean_of_means,
    clustered_share,
    wilson,
)
from bucolic.seeing.metrics.kid import LEAST, kid, kid_interval, on_sphere
from bucolic.seeing.metrics.sharpness import sharpness_interval, sharpness_ratio
from bucolic.seeing.metrics.similarity import clip_similarity, normalised
from bucolic.seeing.prompts import OF_ANIMALS, Prompts

LEAST_PROMPTS = 200
NO_PROMPT = "there is no prompt to judge"
NO_ATTRIBUTES = "the data set has no attributes file, so what its captions state is not known"
NOT_A_RECONSTRUCTION = "this arm does not reconstruct the test image"
PICKED = "the CLIP that would judge has picked these pictures"
ONLY_JUDGE = "this CLIP is the only judge: see R-precision"
SAME_PICTURES = "these are the model's own pictures; the order of the prompts does not enter"


@dataclass(frozen=True)
class Exam:
    """What pictures are examined on.

    Attributes:
        prompts: one for each of n pictures; a prompt's draws follow one another.
        captions: the test split's captions, as CLIPs see them.
        asked: int64 [k], the pictures whose prompts have enough distractors.
        rivals: int64 [k, 99], caption rows that contradict those prompts.
        attributes_known: whether the data set says what captions state.
        seed: seed of the bootstrap.
        draws: pictures of each prompt.
    """

    prompts: Prompts
    captions: Captions
    asked: np.ndarray
    rivals: np.ndarray
    attributes_known: bool
    seed: int
    draws: int = 1

    def take(self, rows: np.ndarray) -> "Exam":
        """The exam of the pictures at `rows` alone, in that order, each its prompt's only one."""
        places = np.full(len(self.prompts), -1)
        places[self.asked] = np.arange(len(self.asked))
        asked = np.flatnonzero(places[rows] >= 0)
        return replace(
            self,
            prompts=self.prompts.take(rows),
            asked=asked,
            rivals=self.rivals[places[rows][asked]],
            draws=1,
        )

    def repeated(self, draws: int) -> "Exam":
        """The exam of several pictures of each prompt."""
        return replace(self.take(np.repeat(np.arange(len(self.prompts)), draws)), draws=draws)

    def by_prompt(self, outcomes: np.ndarray) -> np.ndarray:
        """The mean of each prompt's draws, of float [n]; NaN where the prompt has no outcome."""
        means: np.ndarray = outcomes.reshape(-1, self.draws).mean(axis=1)
        return means


@dataclass(frozen=True)
class Sitting:
    """Pictures, with all that a metric may hold them against.

    Attributes:
        views: n pictures, picture i made for (or being) the image of prompt i.
        exam: their prompts.
        real: real pictures, those of the prompts' images, one a prompt; None where the pictures
            were not made for them.
        rebuilt: what stands for these images pixel by pixel, None where nothing does.
        half: bool, one a prompt, whether its image falls into the first half.
        picked: whether the conditioning CLIP chose the pictures, so that it cannot judge them.
    """

    views: Views
    exam: Exam
    real: Views | None = None
    rebuilt: Views | None = None
    half: np.ndarray | None = None
    picked: bool = False

    @property
    def firsts(self) -> Views:
        """The first picture of each prompt."""
        return self.views.take(np.arange(0, len(self.exam.prompts), self.exam.draws))


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
    return finite(found)


def attributes_all_right(sitting: Sitting) -> Figures:
    """Share of prompts whose stated attributes are all right."""
    agreements = _agreements(sitting)
    if isinstance(agreements, Figure):
        return {"attributes_all_right": agreements}
    none_stated = "no prompt states an attribute that can be judged"
    return {"attributes_all_right": _share(all_right(agreements), sitting.exam, none_stated)}


def attribute_accuracy(sitting: Sitting) -> Figures:
    """Mean accuracy of what is said of the animals, and the accuracy of each attribute."""
    agreements = _agreements(sitting)
    if isinstance(agreements, Figure):
        return {"attribute_accuracy": agreements}
    return {
        **{f"attributes.{name}": _share(right, sitting.exam) for name, right in agreements.items()},
        "attribute_accuracy": _accuracy_of_animals(agreements, sitting.exam),
    }


def r_precision(sitting: Sitting) -> Figures:
    """Share of pictures that find their own prompt among distractors, by the judge."""
    exam = sitting.exam
    if sitting.picked and exam.captions.judged is None:
        return {"r_precision": absent(PICKED)}
    return {"r_precision": _share_of_hits(exam, *by_judge(sitting))}


def r_precision_own_clip(sitting: Sitting) -> Figures:
    """The same by the CLIP that the model is conditioned on."""
    if sitting.picked:
        return {"r_precision_own_clip": absent(PICKED)}
    if sitting.exam.captions.judged is None:
        return {"r_precision_own_clip": absent(ONLY_JUDGE)}
    return {"r_precision_own_clip": _share_of_hits(sitting.exam, *by_own_clip(sitting))}


def similarity(sitting: Sitting) -> Figures:
    """Mean cosine of the pictures with their prompts."""
    if sitting.picked:
        return {"clip_similarity": absent(PICKED)}
    return {
        "clip_similarity": mean_figure(sitting.exam.by_prompt(cosines(sitting.views, sitting.exam)))
    }


def cosines(views: Views, exam: Exam) -> np.ndarray:
    """Cosine of each picture with its prompt, by the conditioning CLIP: float64 [n]."""
    return clip_similarity(views.vectors, exam.captions.own[exam.prompts.caption_rows])


def by_judge(sitting: Sitting) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and captions as the judge sees them, or as the only CLIP that is there does."""
    captions = sitting.exam.captions
    if sitting.views.judged is None or captions.judged is None:
        return by_own_clip(sitting)
    return sitting.views.judged, captions.judged


def by_own_clip(sitting: Sitting) -> tuple[np.ndarray, np.ndarray]:
    """Pictures and captions as the conditioning CLIP sees them."""
    return sitting.views.vectors, sitting.exam.captions.own


def hits(exam: Exam, images: np.ndarray, captions: np.ndarray) -> np.ndarray:
    """Whether each picture finds its own prompt: float64 [n], NaN where it is not asked."""
    own = exam.prompts.caption_rows[exam.asked]
    found = np.full(len(exam.prompts), np.nan)
    found[exam.asked] = r_precision_hits(images[exam.asked], captions, own, exam.rivals)
    return found


def psnr(sitting: Sitting) -> Figures:
    """Peak signal-to-noise ratio of what was rebuilt."""
    if sitting.rebuilt is None or sitting.real is None:
        return {"psnr_db": absent(NOT_A_RECONSTRUCTION)}
    values = psnr_db(sitting.rebuilt.pictures, sitting.real.pictures)
    identical = bool(np.isinf(values).any())
    equal = absent("some pictures equal their references")
    return {"psnr_db": equal if identical else mean_figure(values)}


def likeness(sitting: Sitting) -> Figures:
    """Structural similarity of what was rebuilt."""
    if sitting.rebuilt is None or sitting.real is None:
        return {"ssim": absent(NOT_A_RECONSTRUCTION)}
    pictures, references = sitting.rebuilt.pictures, sitting.real.pictures
    if min(references.shape[2:]) < WINDOW_PX:
        return {"ssim": absent(f"pictures below {WINDOW_PX} px have no window to compare")}
    return {"ssim": mean_figure(ssim(pictures, references))}


def sharpness(sitting: Sitting) -> Figures:
    """Laplacian energy of the pictures over that of the real ones."""
    if sitting.real is None:
        return {"sharpness_ratio": absent(SAME_PICTURES)}
    made, real = sitting.firsts.pictures, sitting.real.pictures
    ratio = sharpness_ratio(made, real)
    if ratio is None:
        return {"sharpness_ratio": absent("the references are flat")}
    interval = sharpness_interval(made, real, seed=sitting.exam.seed)
    return {"sharpness_ratio": Figure(ratio, interval=interval, n=len(made))}


def distance(sitting: Sitting) -> Figures:
    """KID of the pictures in one half against the real pictures in the other."""
    if sitting.real is None or sitting.half is None:
        return {"kid": absent(SAME_PICTURES)}
    if sitting.picked:
        return {"kid": absent(PICKED)}
    made, real = sitting.firsts.vectors[sitting.half], sitting.real.vectors[~sitting.half]
    if reason := _too_few(made, real):
        return {"kid": absent(reason)}
    left, right = on_sphere(made), on_sphere(real)
    interval = kid_interval(left, right, seed=sitting.exam.seed)
    return {"kid": Figure(kid(left, right), interval=interval, n=len(made))}


def cmmd_distance(sitting: Sitting) -> Figures:
    """CMMD of the same halves, by the judge."""

    def measure(made: np.ndarray, real: np.ndarray) -> Figure:
        interval = cmmd_interval(made, real, seed=sitting.exam.seed)
        return Figure(cmmd(made, real), interval=interval, n=len(made))

    return {"cmmd": _of_halves(sitting, measure)}


def frechet(sitting: Sitting) -> Figures:
    """FID of the same halves, by the judge: of resampled pictures it would be another figure."""
    return {
        "fid": _of_halves(
            sitting, lambda made, real: Figure(frechet_distance(made, real), n=len(made))
        )
    }


def density(sitting: Sitting) -> Figures:
    """Density of the same halves, by the judge; its interval is that of what was drawn."""
    return {
        "density": _of_halves(
            sitting, lambda made, real: mean_figure(densities_and_covered(made, real)[0])
        )
    }


def coverage(sitting: Sitting) -> Figures:
    """Coverage of the same halves, by the judge; its interval is that of the real pictures."""

    def measure(made: np.ndarray, real: np.ndarray) -> Figure:
        covered = densities_and_covered(made, real)[1]
        interval = wilson(covered.sum(), len(covered))
        return Figure(float(covered.mean()), interval=interval, n=len(covered))

    return {"coverage": _of_halves(sitting, measure)}


def _of_halves(sitting: Sitting, measure: Callable[[np.ndarray, np.ndarray], Figure]) -> Figure:
    """A figure of unit vectors of one half's pictures against the real ones of the other."""
    if sitting.real is None or sitting.half is None:
        return absent(SAME_PICTURES)
    if sitting.picked and sitting.views.judged is None:
        return absent(PICKED)
    made, real = (
        normalised(views.vectors if views.judged is None else views.judged)[half]
        for views, half in ((sitting.firsts, sitting.half), (sitting.real, ~sitting.half))
    )
    if reason := _too_few(made, real):
        return absent(reason)
    return measure(made, real)


def _too_few(made: np.ndarray, real: np.ndarray) -> str:
    fewest = min(len(made), len(real))
    if fewest >= LEAST:
        return ""
    return f"needs {LEAST} pictures in each half of the test images, found {fewest}"


def _agreements(sitting: Sitting) -> dict[str, np.ndarray] | Figure:
    """What the probe sees against what the prompts state, or why that is not known."""
    exam, seen = sitting.exam, sitting.views.seen
    if not exam.attributes_known or seen is None:
        return absent(NO_ATTRIBUTES)
    return agreement(seen, exam.prompts.stated)


def _accuracy_of_animals(agreements: Mapping[str, np.ndarray], exam: Exam) -> Figure:
    of_animals = {name: agreements[name] for name in OF_ANIMALS if name in agreements}
    shares = [share for share in accuracies(of_animals).values() if share is not None]
    if len(shares) < len(OF_ANIMALS):
        return absent(f"no prompt states all of {', '.join(OF_ANIMALS)}")
    columns = [exam.by_prompt(right) for right in of_animals.values()]
    interval = bootstrap_mean_of_means(columns, seed=exam.seed)
    states_any = np.isfinite(np.stack(columns)).any(axis=0)
    return Figure(float(np.mean(shares)), interval=interval, n=int(states_any.sum()))


def _share_of_hits(exam: Exam, images: np.ndarray, captions: np.ndarray) -> Figure:
    prompts = len(exam.asked) // exam.draws
    if prompts < LEAST_PROMPTS:
        return absent(f"needs {LEAST_PROMPTS} prompts with 99 distractors each, found {prompts}")
    return _share(hits(exam, images, captions), exam)


def _share(outcomes: np.ndarray, exam: Exam, otherwise: str = "no prompt states it") -> Figure:
    """Share of right outcomes; NaN marks a picture that was not asked."""
    shares = exam.by_prompt(outcomes)
    shares = shares[np.isfinite(shares)]
    if not len(shares):
        return absent(otherwise)
    interval = clustered_share(shares, exam.draws)
    return Figure(float(shares.mean()), interval=interval, n=len(shares))

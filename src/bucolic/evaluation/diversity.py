"""How different the pictures of one prompt are, beside real pictures that meet the same prompt."""

from collections.abc import Sequence

import numpy as np

from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split
from bucolic.evaluation.figures import Figure, Figures, absent, mean_figure
from bucolic.seeing.jury import Jury
from bucolic.seeing.metrics.intervals import of_mean
from bucolic.seeing.metrics.similarity import normalised
from bucolic.seeing.prompts import Prompts

PROMPTS, SAMPLES = 50, 16
LEAST_REAL = 2
NOT_KNOWN = "the data set does not say which real pictures meet a prompt"
TOO_FEW = "no prompt is met by two real test pictures"


def diversity(
    drawn: np.ndarray, prompts: Prompts, test: Split, attributes: Attributes | None, jury: Jury
) -> Figures:
    """Mean cosine distance of two pictures of a prompt, of the model's and of real ones.

    Args:
        drawn: uint8 [p, k, 3, s, s], k pictures of each prompt, k at least 2.
        prompts: the p prompts.
        test: the split that real pictures come from.
        attributes: what its scenes truly show, where the data set says so.
        jury: whose judge, or only CLIP, measures how far apart pictures are.
    """
    vectors = jury.judged(drawn.reshape(-1, *drawn.shape[2:]))
    own = np.array([mean_distance(part) for part in vectors.reshape(*drawn.shape[:2], -1)])
    figures = {"of_draws": mean_figure(own)}
    if attributes is None:
        return {**figures, "of_real": absent(NOT_KNOWN), "ratio": absent(NOT_KNOWN)}
    met = [_meeting(int(caption), test, attributes) for caption in prompts.caption_rows]
    kept = [at for at, rows in enumerate(met) if len(rows) >= LEAST_REAL]
    if not kept:
        return {**figures, "of_real": absent(TOO_FEW), "ratio": absent(TOO_FEW)}
    seen = jury.judged(test.images)
    real = np.array([mean_distance(seen[met[at]]) for at in kept])
    return {**figures, "of_real": mean_figure(real), "ratio": _ratio(own[kept], real)}


def _ratio(own: np.ndarray, real: np.ndarray) -> Figure:
    """Of the means [p], the interval by the delta method: prompts vary, in pairs."""
    if not real.mean() > 0:
        return absent("real pictures that meet a prompt are all alike")
    ratio = own.mean() / real.mean()
    spread = of_mean(ratio + (own - ratio * real) / real.mean()) if len(own) > 1 else None
    return Figure(float(ratio), interval=spread, n=len(own))


def mean_distance(vectors: np.ndarray) -> float:
    """Mean of 1 - cos over all pairs of different vectors [k, d], k at least 2."""
    unit = normalised(vectors)
    k = len(unit)
    # |sum of unit vectors|^2 is the sum of all cosines, the k of a vector with itself included.
    return float(1 - (np.square(unit.sum(axis=0)).sum() - k) / (k * (k - 1)))


def _meeting(caption: int, test: Split, attributes: Attributes) -> Sequence[int]:
    """Rows of the real pictures of which all is true that a caption says, judged or not."""
    says = attributes.states.get(int(test.caption_ids[caption]), {})
    truths = [attributes.truth.get(int(image), {}) for image in test.image_ids]
    return [row for row, truth in enumerate(truths) if says.items() <= truth.items()]

"""Guidance and step count, chosen on the val split with CLIP as the judge and then frozen.

Stronger guidance makes a picture fit its prompt better, up to a point, and costs variety. So the
weakest guidance is taken that is within one standard error of the best (the one-standard-error
rule of Breiman et al. 1984), and with it the fewest steps. All candidates draw the same prompts
from the same noise, so the error is that of paired differences.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bucolic.seeing.metrics.similarity import normalised

logger = logging.getLogger(__name__)
Vectors = NDArray[np.float32]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Sampling:
    """How pictures are drawn; see `Model.draw`."""

    guidance: float
    steps: int

    def __str__(self) -> str:
        """As people say it."""
        return f"guidance {self.guidance:g}, {self.steps} steps"


@dataclass(frozen=True)
class Verdict:
    """What the pictures of one candidate are worth.

    Attributes:
        scores: one number for each prompt, larger is better; these decide.
        figures: other numbers on the same pictures, to look at; None where one does not apply.
        intervals: 95 % intervals of those figures that have one.
    """

    scores: Scores
    figures: Mapping[str, float | None]
    intervals: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Choice:
    """The candidate that was taken, and what all that were judged are worth."""

    sampling: Sampling
    verdicts: Mapping[Sampling, Verdict]


def choose_sampling(
    judge: Callable[[Sampling], Verdict],
    *,
    guidances: Sequence[float],
    steps: Sequence[int],
) -> Choice:
    """Choose the weakest guidance at the most steps, then the fewest steps at that guidance.

    Args:
        judge: draws with a candidate, and looks at the pictures.
        guidances: candidates.
        steps: candidates.
    """
    verdicts: dict[Sampling, Verdict] = {}

    def cheapest(candidates: list[Sampling]) -> Sampling:
        for candidate in candidates:
            if candidate not in verdicts:
                verdicts[candidate] = judge(candidate)
                mean = verdicts[candidate].scores.mean()
                logger.info("%s: log probability of val's prompts %.2f", candidate, mean)
        return candidates[first_within_error([verdicts[c].scores for c in candidates])]

    guidance = cheapest([Sampling(g, max(steps)) for g in sorted(guidances)]).guidance
    sampling = cheapest([Sampling(guidance, s) for s in sorted(steps)])
    return Choice(sampling, verdicts)


def first_within_error(scores: Sequence[Scores]) -> int:
    """Index of the first candidate whose paired gap to the best is within one standard error."""
    best = max(scores, key=lambda values: values.mean())
    for index, values in enumerate(scores):
        gaps = best - values
        error = gaps.std(ddof=1) / np.sqrt(len(gaps)) if len(gaps) > 1 else 0.0
        if gaps.mean() <= error:
            return index
    raise AssertionError("the best candidate is within its own error")


def match_scores(image_vectors: Vectors, text_vectors: Vectors, *, scale: float) -> Scores:
    """Log probability of each picture's own text among all texts, by softmax over cosines.

    Args:
        image_vectors: raw embeddings [n, e] of the pictures drawn.
        text_vectors: raw embeddings [n, e] of their prompts, in the same order.
        scale: factor on the cosine before the softmax, as in CLIP's own loss.
    """
    logits = scale * normalised(image_vectors) @ normalised(text_vectors).T
    logits -= logits.max(axis=1, keepdims=True)
    scores: Scores = logits.diagonal() - np.log(np.exp(logits).sum(axis=1))
    return scores

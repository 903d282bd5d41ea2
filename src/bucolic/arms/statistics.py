"""Intervals over seeds of training and prompts, and what a difference says.

Dimensions: s seeds, p prompts.
"""

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds and prompts.

    Attributes:
        value: the mean.
        interval: 95 % interval, see `estimate`.
        by_seed: the mean of each seed.
        prompts: how many were judged.
    """

    value: float
    interval: tuple[float, float]
    by_seed: tuple[float, ...]
    prompts: int

    @property
    def holds(self) -> bool:
        """Whether it is above 0: the interval is, and so is every seed."""
        return self.interval[0] > 0 and min(self.by_seed) > 0


def estimate(outcomes: np.ndarray, *, seed: int = 0) -> Estimate:
    """Mean of outcomes [s, p], with a bootstrap interval in which both seeds and prompts vary.

    Seeds are resampled, then prompts, the same ones in all of them, since all were asked the same:
    what is hard for one is hard for the others (a crossed design; Owen and Eckles 2012, arXiv
    1106.2125). Of paired arms, give their difference.

    Args:
        outcomes: float [s, p], NaN in a whole column where a prompt is not judged.
        seed: of the resampling.
    """
    judged = outcomes[:, np.isfinite(outcomes).all(axis=0)]
    seeds, prompts = judged.shape
    chance = np.random.default_rng(seed)
    of_seeds = chance.multinomial(seeds, np.full(seeds, 1 / seeds), size=RESAMPLES) / seeds
    of_prompts = chance.multinomial(prompts, np.full(prompts, 1 / prompts), size=RESAMPLES)
    means = np.einsum("bs,sp,bp->b", of_seeds, judged, of_prompts / prompts, optimize=True)
    low, high = np.quantile(means, [0.025, 0.975])
    by_seed = tuple(float(mean) for mean in judged.mean(axis=1))
    return Estimate(float(judged.mean()), (float(low), float(high)), by_seed, prompts)

"""CMMD (Jayasumana et al. 2024, arXiv 2401.09603) in its unbiased form, on any encoder's vectors.

Squared maximum mean discrepancy of unit vectors with the kernel exp(-|x - y|^2 / (2 sigma^2)), with
sigma 10, times 1,000. On unit vectors that kernel is nearly linear, so it compares little but
means: it does not see a model that repeats itself. Values of other encoders do not compare.
"""

import numpy as np

from bucolic.seeing.metrics.mmd import mmd, mmd_interval
from bucolic.seeing.metrics.similarity import normalised

SIGMA = 10.0
SCALE = 1000.0


def cmmd(left: np.ndarray, right: np.ndarray) -> float:
    """The discrepancy; 0 is expected of two samples of one distribution, and it may be negative.

    Args:
        left: float [n, d], n at least 2.
        right: float [m, d], m at least 2.
    """
    return mmd(normalised(left), normalised(right), kernel)


def cmmd_interval(left: np.ndarray, right: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95 % interval of `cmmd`; see `mmd_interval`."""
    return mmd_interval(normalised(left), normalised(right), kernel, seed=seed)


def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Of unit vectors, for all pairs, times 1,000: float64 [n, m]."""
    squared = 2 - 2 * (left @ right.T)
    values: np.ndarray = SCALE * np.exp(-squared / (2 * SIGMA**2))
    return values

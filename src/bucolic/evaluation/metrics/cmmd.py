"""CMMD (Jayasumana et al. 2024, arXiv 2401.09603) in its unbiased form, on any encoder's vectors.

Squared maximum mean discrepancy of unit vectors with the kernel exp(-|x - y|^2 / (2 sigma^2)), with
sigma 10, times 1,000. On unit vectors that kernel is nearly linear, so it compares little but
means: it does not see a model that repeats itself. Values of other encoders do not compare.
"""

import numpy as np

from bucolic.seeing.metrics.similarity import normalised

SIGMA = 10.0
SCALE = 1000.0


def cmmd(left: np.ndarray, right: np.ndarray) -> float:
    """The discrepancy; 0 is expected of two samples of one distribution, and it may be negative.

    Args:
        left: float [n, d], n at least 2.
        right: float [m, d], m at least 2.
    """
    left, right = normalised(left), normalised(right)
    within = _mean_of_pairs(_kernel(left, left)) + _mean_of_pairs(_kernel(right, right))
    return float(SCALE * (within - 2 * _kernel(left, right).mean()))


def _kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    squared = 2 - 2 * (left @ right.T)
    values: np.ndarray = np.exp(-squared / (2 * SIGMA**2))
    return values


def _mean_of_pairs(values: np.ndarray) -> float:
    """Mean over pairs of different vectors."""
    n = len(values)
    return float((values.sum() - np.trace(values)) / (n * (n - 1)))

"""Squared maximum mean discrepancy (Gretton et al. 2012, JMLR 13), unbiased, with an interval.

Pairs of a vector with itself are left out, so the expectation is 0 for two samples of one
distribution, and single values may be slightly negative.
"""

from collections.abc import Callable

import numpy as np

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]


def mmd(left: np.ndarray, right: np.ndarray, kernel: Kernel) -> float:
    """Discrepancy between two sets of vectors.

    Args:
        left: float [n, d], n at least 2.
        right: float [m, d], m at least 2.
        kernel: its values float64 [n, m] for all pairs of two sets.
    """
    ones_left, ones_right = np.ones((1, len(left))), np.ones((1, len(right)))
    return float(_weighted(left, right, ones_left, ones_right, kernel)[0])


def mmd_interval(
    left: np.ndarray,
    right: np.ndarray,
    kernel: Kernel,
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Bootstrap percentile interval of `mmd`.

    Both sets are resampled with replacement. A vector paired with its own copy is left out like a
    vector paired with itself: counting such pairs would add a bias of the order of the value.

    Args:
        left: float [n, d].
        right: float [m, d].
        kernel: see `mmd`.
        seed: seed of the resampling.
        draws: number of resamples.
        level: coverage.

    Returns:
        Lower and upper end.
    """
    generator = np.random.default_rng(seed)
    of_left = _multiplicities(generator, draws, left)
    of_right = _multiplicities(generator, draws, right)
    values = _weighted(left, right, of_left, of_right, kernel)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _multiplicities(generator: np.random.Generator, draws: int, vectors: np.ndarray) -> np.ndarray:
    n = len(vectors)
    return generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def _weighted(
    left: np.ndarray,
    right: np.ndarray,
    weights_left: np.ndarray,
    weights_right: np.ndarray,
    kernel: Kernel,
) -> np.ndarray:
    """The discrepancy for each row of weights [draws, n] and [draws, m]: float64 [draws]."""
    across: np.ndarray = np.sum((weights_left @ kernel(left, right)) * weights_right, axis=1)
    across /= weights_left.sum(axis=1) * weights_right.sum(axis=1)
    within = _within(left, weights_left, kernel) + _within(right, weights_right, kernel)
    return np.asarray(within - 2 * across)


def _within(vectors: np.ndarray, weights: np.ndarray, kernel: Kernel) -> np.ndarray:
    """Weighted mean of the kernel over pairs of different vectors: float64 [draws]."""
    values = kernel(vectors, vectors)
    np.fill_diagonal(values, 0.0)
    total = np.sum((weights @ values) * weights, axis=1)
    pairs = weights.sum(axis=1) ** 2 - np.sum(weights**2, axis=1)
    mean: np.ndarray = total / pairs
    return mean

"""Kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401) on any encoder's vectors.

The squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, in its unbiased form: pairs of
a vector with itself are left out, so the expectation is 0 for two samples of one distribution, and
single values may be slightly negative.
"""

import numpy as np

LEAST = 50  # vectors on either side; below, the value is noise


def kid(left: np.ndarray, right: np.ndarray) -> float:
    """Unbiased squared discrepancy between two sets of vectors.

    Args:
        left: float [n, d], n at least 2.
        right: float [m, d], m at least 2.

    Returns:
        The discrepancy; 0 is expected for two samples of one distribution.
    """
    ones_left, ones_right = np.ones((1, len(left))), np.ones((1, len(right)))
    return float(_weighted(left, right, ones_left, ones_right)[0])


def kid_interval(
    left: np.ndarray, right: np.ndarray, *, seed: int, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Bootstrap percentile interval of `kid`.

    Both sets are resampled with replacement. A vector paired with its own copy is left out like a
    vector paired with itself: counting such pairs would add a bias of the order of the value.

    Args:
        left: float [n, d].
        right: float [m, d].
        seed: seed of the resampling.
        draws: number of resamples.
        level: coverage.

    Returns:
        Lower and upper end.
    """
    generator = np.random.default_rng(seed)
    values = _weighted(
        left,
        right,
        _multiplicities(generator, draws, left),
        _multiplicities(generator, draws, right),
    )
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def kernel(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(x.y / d + 1)^3 for all pairs: float64 [n, m]."""
    products = left.astype(np.float64) @ right.astype(np.float64).T
    values: np.ndarray = (products / left.shape[1] + 1) ** 3
    return values


def on_sphere(vectors: np.ndarray) -> np.ndarray:
    """Scale vectors [n, d] to length sqrt(d), so that x.y / d in the kernel is their cosine."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: np.ndarray = vectors * (vectors.shape[1] ** 0.5 / np.maximum(lengths, 1e-12))
    return scaled


def _multiplicities(generator: np.random.Generator, draws: int, vectors: np.ndarray) -> np.ndarray:
    n = len(vectors)
    return generator.multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float64)


def _weighted(
    left: np.ndarray, right: np.ndarray, weights_left: np.ndarray, weights_right: np.ndarray
) -> np.ndarray:
    """The discrepancy for each row of weights [draws, n] and [draws, m]: float64 [draws]."""
    across: np.ndarray = np.sum((weights_left @ kernel(left, right)) * weights_right, axis=1)
    across /= weights_left.sum(axis=1) * weights_right.sum(axis=1)
    within = _within(left, weights_left) + _within(right, weights_right)
    return np.asarray(within - 2 * across)


def _within(vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted mean of the kernel over pairs of different vectors: float64 [draws]."""
    values = kernel(vectors, vectors)
    np.fill_diagonal(values, 0.0)
    total = np.sum((weights @ values) * weights, axis=1)
    pairs = weights.sum(axis=1) ** 2 - np.sum(weights**2, axis=1)
    mean: np.ndarray = total / pairs
    return mean

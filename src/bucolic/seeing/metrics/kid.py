"""Kernel inception distance (Binkowski et al. 2018, arXiv 1801.01401) on any encoder's vectors.

The squared maximum mean discrepancy with the kernel (x.y / d + 1)^3, in its unbiased form.
"""

import numpy as np

from bucolic.seeing.metrics.mmd import mmd, mmd_interval

LEAST = 50  # vectors on either side; below, the value is noise


def kid(left: np.ndarray, right: np.ndarray) -> float:
    """Discrepancy between vectors [n, d] and [m, d]; see `mmd`."""
    return mmd(left, right, kernel)


def kid_interval(left: np.ndarray, right: np.ndarray, *, seed: int) -> tuple[float, float]:
    """95 % interval of `kid`; see `mmd_interval`."""
    return mmd_interval(left, right, kernel, seed=seed)


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

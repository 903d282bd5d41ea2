"""Whether pictures are copies of training pictures, by their distances to the nearest of these.

- c_t: the three-sample test of Meehan et al. 2020 (arXiv 2004.05675): a Mann-Whitney test of the
  distances of generated pictures against those of held-out ones, as z. Here positive means nearer
  to the training pictures than held-out ones are. It sees a shift of the whole and misses a few
  copies among many pictures that are none.
- copied share: how many generated pictures lie nearer than all but 1 % of held-out ones, less that
  1 %. It sees the few.
"""

import numpy as np

from bucolic.seeing.metrics.intervals import wilson
from bucolic.seeing.metrics.similarity import normalised

TAIL = 0.01
CHUNK = 1024


def nearest_distances(queries: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Cosine distance of each query [n, d] to the nearest of train [m, d]: float64 [n]."""
    left, right = normalised(queries), normalised(train)
    parts = [1 - (left[at : at + CHUNK] @ right.T).max(axis=1) for at in range(0, len(left), CHUNK)]
    return np.concatenate(parts)


def c_t(generated: np.ndarray, held_out: np.ndarray) -> float:
    """Mann-Whitney z of distances, positive where generated ones are the smaller.

    Args:
        generated: float [n], distances to the nearest training picture.
        held_out: float [m], likewise.
    """
    n, m = len(generated), len(held_out)
    order = np.sort(held_out)
    # Held-out distances above each generated one; a tie counts half.
    above = m - np.searchsorted(order, generated, side="right")
    ties = np.searchsorted(order, generated, side="right") - np.searchsorted(order, generated)
    u = float(above.sum() + 0.5 * ties.sum())
    return float((u - n * m / 2) / np.sqrt(n * m * (n + m + 1) / 12))


def copied_share(generated: np.ndarray, held_out: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Share of generated pictures in the nearest 1 % of held-out distances, less that 1 %.

    Returns:
        The share, at least 0, and its 95 % interval.
    """
    near = int((generated < np.quantile(held_out, TAIL)).sum())
    low, high = wilson(near, len(generated))
    return max(0.0, near / len(generated) - TAIL), (max(0.0, low - TAIL), max(0.0, high - TAIL))

"""Whether pictures are copies of training pictures, by their distances to the nearest of these.

- c_t: the three-sample test of Meehan et al. 2020 (arXiv 2004.05675): a Mann-Whitney test of the
  distances of generated pictures against those of held-out ones, as z. Here positive means nearer
  to the training pictures than held-out ones are. It sees a shift of the whole and misses a few
  copies among many pictures that are none.
- copied share: how many more generated pictures than held-out ones lie nearer than 98 % of held-out
  ones do. Half of the held-out pictures set that limit, the others are counted beside the generated
  ones, so that pictures that are no copies count 0 on average. It sees the few.
"""

import numpy as np

from bucolic.seeing.metrics.intervals import wilson
from bucolic.seeing.metrics.similarity import normalised

TAIL = 0.02
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
    """Share of generated pictures that are too near, less that of held-out ones.

    Args:
        generated: float [n], distances to the nearest training picture.
        held_out: float [m], likewise, in an order of chance; m at least 4.

    Returns:
        The difference, which chance can make negative, and its 95 % interval (Newcombe 1998,
        method 10).
    """
    limit = np.quantile(held_out[::2], TAIL)
    counted = held_out[1::2]
    near, expected = int((generated <= limit).sum()), int((counted <= limit).sum())
    shares = near / len(generated), expected / len(counted)
    ends = wilson(near, len(generated)), wilson(expected, len(counted))
    gap = shares[0] - shares[1]
    below = np.hypot(shares[0] - ends[0][0], ends[1][1] - shares[1])
    above = np.hypot(ends[0][1] - shares[0], shares[1] - ends[1][0])
    return gap, (float(gap - below), float(gap + above))

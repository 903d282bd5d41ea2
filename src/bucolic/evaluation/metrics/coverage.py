"""Density and coverage (Naeem et al. 2020, arXiv 2002.09797) on any encoder's vectors."""

import numpy as np

from bucolic.seeing.metrics.similarity import normalised

NEIGHBOURS = 5


def density_and_coverage(made: np.ndarray, real: np.ndarray) -> tuple[float, float]:
    """How far the made lie among the real, and how many of the real have a made one near.

    A real vector's ball reaches to its fifth nearest real neighbour; vectors have unit length.

    Args:
        made: float [n, d].
        real: float [m, d], m over 5.

    Returns:
        Density, the mean number of balls that a made vector lies in, over 5: 1 is expected of real
        ones. Coverage, the share of balls that hold a made vector: real ones reach 1 - 2^-5 or so.
    """
    made, real = normalised(made), normalised(real)
    among = _distances(real, real)
    # Column 0 of the sorted distances is the vector's own.
    radii = np.sort(among, axis=1)[:, NEIGHBOURS]
    inside = _distances(real, made) < radii[:, None]
    return float(inside.sum(axis=0).mean() / NEIGHBOURS), float(inside.any(axis=1).mean())


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.sqrt(np.maximum(2 - 2 * left @ right.T, 0))
    return distances

"""Density and coverage (Naeem et al. 2020, arXiv 2002.09797) on any encoder's vectors."""

import numpy as np

from bucolic.seeing.metrics.similarity import normalised

NEIGHBOURS = 5


def densities_and_covered(made: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far the made lie among the real, and which of the real have a made one near.

    A real vector's ball reaches to its fifth nearest real neighbour; vectors have unit length.

    Args:
        made: float [n, d].
        real: float [m, d], m over 5.

    Returns:
        Densities float64 [n], the number of balls that each made vector lies in, over 5: of real
        ones 1 is expected in the mean. Whether each ball holds a made vector, float64 [m]: of real
        ones 1 - 2^-5 or so do.
    """
    made, real = normalised(made), normalised(real)
    among = _distances(real, real)
    # Column 0 of the sorted distances is the vector's own.
    radii = np.sort(among, axis=1)[:, NEIGHBOURS]
    inside = _distances(real, made) < radii[:, None]
    densities: np.ndarray = inside.sum(axis=0) / NEIGHBOURS
    return densities, np.asarray(inside.any(axis=1), dtype=np.float64)


def _distances(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    distances: np.ndarray = np.sqrt(np.maximum(2 - 2 * left @ right.T, 0))
    return distances

"""How much fine detail pictures hold, as the energy of their Laplacian."""

import numpy as np


def laplacian_variance(pictures: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of the channel mean, pooled over all pictures.

    Args:
        pictures: uint8 [n, c, h, w], h and w at least 3; border pixels have no Laplacian.

    Returns:
        The variance in grey levels squared.
    """
    grey = pictures.astype(np.float64).mean(axis=1)
    centre = grey[:, 1:-1, 1:-1]
    neighbours = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    return float(np.var(neighbours - 4 * centre))


def sharpness_ratio(pictures: np.ndarray, references: np.ndarray) -> float | None:
    """Laplacian variance of `pictures` over that of `references`; None where the latter is flat."""
    reference = laplacian_variance(references)
    return laplacian_variance(pictures) / reference if reference > 0 else None

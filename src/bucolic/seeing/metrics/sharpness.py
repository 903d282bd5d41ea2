"""How much fine detail pictures hold, as the energy of their Laplacian."""

import numpy as np


def laplacian_variance(pictures: np.ndarray) -> float:
    """Variance of the 4-neighbour Laplacian of the channel mean, pooled over all pictures.

    Args:
        pictures: uint8 [n, c, h, w], h and w at least 3; border pixels have no Laplacian.

    Returns:
        The variance in grey levels squared.
    """
    return float(np.var(_laplacians(pictures)))


def sharpness_ratio(pictures: np.ndarray, references: np.ndarray) -> float | None:
    """Laplacian variance of `pictures` over that of `references`; None where the latter is flat."""
    reference = laplacian_variance(references)
    return laplacian_variance(pictures) / reference if reference > 0 else None


def sharpness_interval(
    pictures: np.ndarray,
    references: np.ndarray,
    *,
    seed: int,
    draws: int = 1000,
    level: float = 0.95,
) -> tuple[float, float]:
    """Bootstrap percentile interval of `sharpness_ratio`, pictures and references apart.

    Args:
        pictures: uint8 [n, c, h, w].
        references: uint8 [m, c, h, w].
        seed: seed of the resampling.
        draws: number of resamples.
        level: coverage.

    Returns:
        Lower and upper end.
    """
    generator = np.random.default_rng(seed)
    made, real = (_resampled(batch, generator, draws) for batch in (pictures, references))
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = np.nanquantile(made / real, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _resampled(pictures: np.ndarray, generator: np.random.Generator, draws: int) -> np.ndarray:
    """Laplacian variances of resamples, from each picture's two first moments: float64 [draws]."""
    laplacians = _laplacians(pictures).reshape(len(pictures), -1)
    moments = np.stack([laplacians.mean(axis=1), (laplacians**2).mean(axis=1)], axis=1)
    n = len(pictures)
    means = generator.multinomial(n, np.full(n, 1 / n), size=draws) @ moments / n
    variances: np.ndarray = means[:, 1] - means[:, 0] ** 2
    return variances


def _laplacians(pictures: np.ndarray) -> np.ndarray:
    """The Laplacian of each picture's channel mean, float64 [n, h - 2, w - 2]."""
    grey = pictures.astype(np.float64).mean(axis=1)
    centre = grey[:, 1:-1, 1:-1]
    neighbours = grey[:, :-2, 1:-1] + grey[:, 2:, 1:-1] + grey[:, 1:-1, :-2] + grey[:, 1:-1, 2:]
    laplacians: np.ndarray = neighbours - 4 * centre
    return laplacians

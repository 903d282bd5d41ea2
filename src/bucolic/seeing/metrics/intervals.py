"""Intervals for shares and means of independent trials."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student

Z_95 = 1.959963984540054


def wilson(successes: float, trials: float, z: float = Z_95) -> tuple[float, float]:
    """Score interval of a share (Wilson 1927), sound near 0 and 1 and for few trials.

    Args:
        successes: number of successes.
        trials: number of trials, at least 1; both may be effective numbers.
        z: quantile of the normal distribution; the default covers 95 %.

    Returns:
        Lower and upper end, within [0, 1].
    """
    share = successes / trials
    centre = share + z**2 / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2))
    scale = 1 + z**2 / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def clustered_share(shares: np.ndarray, draws: int, z: float = Z_95) -> tuple[float, float]:
    """Interval of a share from several trials in each of n independent clusters.

    Wilson's, at the effective number of trials (Kish 1965): that of independent ones whose mean
    has the variance that is found between clusters. With one draw each it is Wilson's own.

    Args:
        shares: float [n], the share of each cluster.
        draws: trials in each cluster.
        z: quantile of the normal distribution; the default covers 95 %.

    Returns:
        Lower and upper end, within [0, 1].
    """
    n, share = len(shares), float(np.mean(shares))
    variance = float(np.var(shares, ddof=1)) / n if n > 1 else 0.0
    # Where all clusters agree, as near 0 and 1, each counts once.
    trials = share * (1 - share) / variance if variance > 0 else n
    trials = min(max(trials, n), n * draws)
    return wilson(share * trials, trials, z)


def of_mean(values: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    """Interval of a mean by Student's t (1908); values float [n], n at least 2."""
    mean, n = float(np.mean(values)), len(values)
    half = float(student.ppf((1 + level) / 2, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return mean - half, mean + half


def bootstrap_mean_of_means(
    columns: Sequence[np.ndarray], *, seed: int, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of the mean of several columns' means, rows being resampled together.

    Args:
        columns: float [n] each, NaN where a row has no value.
        seed: seed of the resampling.
        draws: number of resamples.
        level: coverage.

    Returns:
        Lower and upper end.
    """
    table = np.stack(columns, axis=1)
    n = len(table)
    weights = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    present = np.isfinite(table).astype(np.float64)
    # A resample without any value in a column says nothing about it and is left out.
    with np.errstate(invalid="ignore"):
        means = np.mean((weights @ np.nan_to_num(table)) / (weights @ present), axis=1)
    low, high = np.nanquantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

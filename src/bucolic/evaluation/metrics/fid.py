"""Fréchet distance of two sets of vectors as Gaussians (FID: Heusel et al. 2017, arXiv 1706.08500).

Biased, and the more so the fewer vectors there are (Chong and Forsyth 2020, arXiv 1911.07023): a
value means something beside that of real pictures at the same n, by the same encoder.
"""

import numpy as np


def frechet_distance(left: np.ndarray, right: np.ndarray) -> float:
    """|mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)).

    Args:
        left: float [n, d], n at least 2.
        right: float [m, d], m at least 2.

    Returns:
        The squared distance, at least 0.
    """
    left, right = left.astype(np.float64), right.astype(np.float64)
    covariances = [np.atleast_2d(np.cov(vectors, rowvar=False)) for vectors in (left, right)]
    gap = left.mean(axis=0) - right.mean(axis=0)
    # tr (S1 S2)^(1/2) = tr (S1^(1/2) S2 S1^(1/2))^(1/2), whose argument is symmetric.
    root = _root(covariances[0])
    eigenvalues = np.linalg.eigvalsh(root @ covariances[1] @ root)
    across = np.sqrt(np.maximum(eigenvalues, 0)).sum()
    spread = sum(np.trace(covariance) for covariance in covariances)
    return max(0.0, float(gap @ gap + spread - 2 * across))


def _root(matrix: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(matrix)
    root: np.ndarray = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return root

"""Structural similarity (Wang et al. 2004, doi:10.1109/TIP.2003.819861), picture by picture."""

import numpy as np

PEAK = 255.0
WINDOW_PX = 11
WINDOW_SIGMA_PX = 1.5
STABILISER_MEAN = (0.01 * PEAK) ** 2
STABILISER_SPREAD = (0.03 * PEAK) ** 2
CHUNK = 32


def ssim(pictures: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Mean structural similarity of each picture with its reference.

    Gaussian window of 11 px with sigma 1.5, inside the picture only; the mean over channels and
    window places (equation 13 of the paper, with its K1 = 0.01, K2 = 0.03).

    Args:
        pictures: uint8 [n, c, h, w], h and w at least 11.
        references: uint8 [n, c, h, w].

    Returns:
        float64 [n], at most 1, which only equal pictures reach.
    """
    chunks = [
        _similarity(pictures[at : at + CHUNK], references[at : at + CHUNK])
        for at in range(0, len(pictures), CHUNK)
    ]
    return np.concatenate(chunks) if chunks else np.empty(0)


def _similarity(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    a, b = left.astype(np.float64), right.astype(np.float64)
    mean_a, mean_b = _blur(a), _blur(b)
    variance_a = _blur(a * a) - mean_a**2
    variance_b = _blur(b * b) - mean_b**2
    covariance = _blur(a * b) - mean_a * mean_b
    likeness = (2 * mean_a * mean_b + STABILISER_MEAN) * (2 * covariance + STABILISER_SPREAD)
    scale = (mean_a**2 + mean_b**2 + STABILISER_MEAN) * (
        variance_a + variance_b + STABILISER_SPREAD
    )
    similarity: np.ndarray = np.mean(likeness / scale, axis=(1, 2, 3))
    return similarity


def gaussian_window() -> np.ndarray:
    """The window's weights along one axis, float64 [11], summing to 1."""
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA_PX**2))
    window: np.ndarray = weights / weights.sum()
    return window


def _blur(pictures: np.ndarray) -> np.ndarray:
    """Weighted mean in every whole window: [n, c, h, w] to [n, c, h - 10, w - 10]."""
    height_px, width_px = pictures.shape[2:]
    blurred: np.ndarray = _windows(height_px) @ pictures @ _windows(width_px).T
    return blurred


def _windows(length_px: int) -> np.ndarray:
    """The window at each place where it is whole along one axis: [length - 10, length]."""
    window, places = gaussian_window(), length_px - WINDOW_PX + 1
    return np.stack([np.pad(window, (at, places - 1 - at)) for at in range(places)])

"""Peak signal-to-noise ratio, picture by picture."""

import numpy as np

PEAK = 255.0


def psnr_db(pictures: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each picture against its reference.

    10 log10(255^2 / MSE), the mean squared error taken over channels and pixels of one picture.

    Args:
        pictures: uint8 [n, c, h, w].
        references: uint8 [n, c, h, w].

    Returns:
        float64 [n], in dB; infinity where the two are equal.
    """
    errors = pictures.astype(np.float64) - references.astype(np.float64)
    mean_squares = np.mean(errors**2, axis=(1, 2, 3))
    with np.errstate(divide="ignore"):
        decibels: np.ndarray = 10 * np.log10(PEAK**2 / mean_squares)
    return decibels

import numpy as np
import pytest

from bucolic.evaluation.metrics.ssim import CHUNK, gaussian_window, ssim


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """Noise pictures, more than one chunk of them."""
    return np.random.default_rng(0).integers(0, 256, (CHUNK + 3, 3, 16, 16)).astype(np.uint8)


def test_equal_pictures_have_similarity_one(pictures: np.ndarray):
    """SSIM of a picture with itself is 1, in every chunk."""
    assert ssim(pictures, pictures) == pytest.approx(np.ones(CHUNK + 3))


def test_similarity_is_symmetric_and_below_one(pictures: np.ndarray):
    """The order of picture and reference does not matter, and unlike ones score low."""
    forth, back = ssim(pictures, pictures[::-1]), ssim(pictures[::-1], pictures)
    assert forth == pytest.approx(back)
    middle = CHUNK // 2 + 1  # the one that meets itself
    assert np.delete(forth, middle).max() < 0.2


def test_an_inverted_picture_is_negatively_similar(pictures: np.ndarray):
    """Inverting turns the structure around."""
    assert ssim(255 - pictures[:2], pictures[:2]).max() < -0.5


def test_the_window_sums_to_one_and_is_symmetric():
    """The window is a weighted mean."""
    window = gaussian_window()
    assert window.sum() == pytest.approx(1.0)
    assert window == pytest.approx(window[::-1])

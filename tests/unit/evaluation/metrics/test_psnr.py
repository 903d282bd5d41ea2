import numpy as np
import pytest

from bucolic.evaluation.metrics.psnr import psnr_db


def test_a_constant_error_gives_its_known_value():
    """Every pixel 1 grey level off is 20 log10(255) = 48.13 dB."""
    black = np.zeros((2, 3, 8, 8), np.uint8)
    assert psnr_db(black + np.uint8(1), black) == pytest.approx([48.1308, 48.1308], abs=1e-4)


def test_uint8_differences_do_not_wrap_around():
    """0 against 255 is 0 dB in both directions."""
    black, white = np.zeros((1, 3, 4, 4), np.uint8), np.full((1, 3, 4, 4), 255, np.uint8)
    assert psnr_db(black, white) == pytest.approx([0.0])
    assert psnr_db(white, black) == pytest.approx([0.0])


def test_equal_pictures_have_infinite_psnr():
    """No error, no noise."""
    picture = np.full((1, 3, 4, 4), 7, np.uint8)
    assert np.isinf(psnr_db(picture, picture)).all()

import numpy as np
import pytest

from bucolic.seeing.metrics.sharpness import (
    laplacian_variance,
    sharpness_interval,
    sharpness_ratio,
)


def test_a_linear_ramp_has_no_laplacian():
    """Constant slopes hold no detail."""
    ramp = np.broadcast_to(np.arange(16, dtype=np.uint8) * 10, (1, 3, 16, 16))
    assert laplacian_variance(ramp) == pytest.approx(0.0)


def test_a_checkerboard_has_its_known_energy():
    """Values 0 and 100: the Laplacian is +400 and -400, half each."""
    board = (np.indices((10, 10)).sum(axis=0) % 2 * 100).astype(np.uint8)
    assert laplacian_variance(np.broadcast_to(board, (2, 3, 10, 10))) == pytest.approx(160000.0)


def test_colour_noise_that_cancels_in_the_mean_does_not_count():
    """The Laplacian is taken of the channel mean."""
    board = np.indices((10, 10)).sum(axis=0) % 2
    picture = np.stack([board * 100, (1 - board) * 100, np.full((10, 10), 50)])[None]
    assert laplacian_variance(picture.astype(np.uint8)) == pytest.approx(0.0)


def test_blur_lowers_the_ratio_and_equality_gives_one():
    """A picture averaged over 2 x 2 px keeps less than half of the energy of white noise."""
    noise = np.random.default_rng(0).integers(0, 256, (4, 3, 32, 32)).astype(np.uint8)
    means = noise.reshape(4, 3, 16, 2, 16, 2).mean(axis=(3, 5))
    blurred = means.repeat(2, axis=2).repeat(2, axis=3).astype(np.uint8)
    assert sharpness_ratio(noise, noise) == 1.0
    ratio = sharpness_ratio(blurred, noise)
    assert ratio is not None
    assert 0.0 < ratio < 0.5


def test_flat_references_give_no_ratio():
    """A ratio over nothing is none, not infinity."""
    flat = np.full((1, 3, 8, 8), 9, np.uint8)
    assert sharpness_ratio(flat, flat) is None


def test_the_interval_holds_the_ratio_and_narrows_with_more_pictures():
    """White noise of two strengths, mixed: 4 times the pictures halve the width."""
    generator = np.random.default_rng(0)
    strength = generator.choice([1.0, 3.0], size=(400, 1, 1, 1))
    noise = generator.normal(size=(400, 3, 16, 16)) * 20 * strength
    pictures = np.clip(noise + 128, 0, 255).astype(np.uint8)
    widths = []
    for number in (50, 200):
        made, real = pictures[:number], pictures[200 : 200 + number]
        low, high = sharpness_interval(made, real, seed=0)
        assert low < (sharpness_ratio(made, real) or 0) < high
        widths.append(high - low)
    assert widths[1] == pytest.approx(widths[0] / 2, rel=0.35)

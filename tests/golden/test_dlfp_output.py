"""A seeded output of the original study's model: its architecture does not change by accident."""

import numpy as np
import pytest
import torch

from bucolic.models.dlfp.model import Dlfp

E = 512


@pytest.mark.parametrize(
    ("size_px", "mean", "deviation", "corner", "centre"),
    [
        (64, 137.571, 27.095, [136, 120, 139], [75, 152, 127]),
        (128, 114.819, 16.968, [126, 127, 127], [92, 90, 97]),
    ],
)
def test_the_first_weights_of_a_seed_draw_the_same_picture(
    size_px: int, mean: float, deviation: float, corner: list[int], centre: list[int]
):
    """Level for level, give or take one, from conditions and seeds that are written here."""
    torch.manual_seed(0)
    model = Dlfp(0.0, size_px=size_px, embed_dim=E).eval()
    conditions = torch.linspace(-1, 1, E).expand(2, E)

    drawn = model.draw(conditions, [1, 2], guidance=1.0, steps=1).numpy().astype(int)

    assert drawn.shape == (2, 3, size_px, size_px)
    assert drawn.mean() == pytest.approx(mean, abs=0.05)
    assert drawn.std() == pytest.approx(deviation, abs=0.05)
    assert np.abs(drawn[0, :, 0, 0] - corner).max() <= 1
    assert np.abs(drawn[1, :, size_px // 2, size_px // 2] - centre).max() <= 1

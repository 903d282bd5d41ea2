"""Ways between conditions along the sphere they lie on, as unCLIP goes (arXiv 2204.06125, 3).

Dimensions: n rows, e embedding.
"""

import torch
from torch import Tensor
from torch.nn import functional

from bucolic.base.errors import ParamsError

# In radians. Nearer to one another than the first, a straight line is the arc, to float32's last
# digits; nearer to opposite than the second, every arc is as good as another.
SAME, OPPOSITE = 1e-4, 1e-3


def slerp(starts: Tensor, ends: Tensor, shares: Tensor) -> Tensor:
    """Points on the arcs from starts [n, e] to ends [n, e], at shares [n] of the way: [n, e].

    The direction turns at an even rate (Shoemake 1985), the length changes evenly beside it.

    Raises:
        ParamsError: two ends point in opposite directions.
    """
    first, last = functional.normalize(starts.double()), functional.normalize(ends.double())
    # By half the chord: the arc cosine loses half of the digits of a small angle.
    angles = 2 * torch.asin((0.5 * (last - first).norm(dim=1)).clamp(max=1))
    if bool((angles > torch.pi - OPPOSITE).any()):
        raise ParamsError("these two are opposites: no way between them is the shortest")
    parts = torch.stack([1 - shares.double(), shares.double()])
    weights = torch.where(angles < SAME, parts, (parts * angles).sin() / angles.sin().clamp(SAME))
    directions = functional.normalize(weights[0, :, None] * first + weights[1, :, None] * last)
    lengths = parts[0] * starts.double().norm(dim=1) + parts[1] * ends.double().norm(dim=1)
    points: Tensor = (directions * lengths[:, None]).to(starts.dtype)
    return points

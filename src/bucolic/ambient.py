"""Torch's modes that a caller has set for code of his own, and that would decide our bytes.

Autocast, inference and default devices hold for a thread, the default type of floats for the whole
process: that one is set only where networks are made, and put back at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawing_modes() -> Iterator[None]:
    """No autocast, and tensors on the CPU unless another place is named."""
    with torch.device("cpu"), _no_autocast("cpu"), _no_autocast("cuda"), _no_autocast("mps"):
        yield


@contextmanager
def loading_modes() -> Iterator[None]:
    """As `drawing_modes`, and networks of float32."""
    former = torch.get_default_dtype()
    with drawing_modes():
        if former is torch.float32:
            yield
            return
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(former)


def _no_autocast(kind: str) -> torch.autocast:
    return torch.autocast(kind, enabled=False)

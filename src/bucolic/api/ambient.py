"""Torch's modes that a caller has set for code of his own, and that would decide our bytes.

Autocast, inference and default devices hold for a thread, the default type of floats for the whole
process: that one is set only where networks are made, and put back at once.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

_LOADING = threading.Lock()  # or the type that one thread sets is what another puts back


@contextmanager
def drawing_modes() -> Iterator[None]:
    """No autocast, and tensors on the CPU unless another place is named."""
    with torch.device("cpu"), _no_autocast("cpu"), _no_autocast("cuda"), _no_autocast("mps"):
        yield


@contextmanager
def loading_modes() -> Iterator[None]:
    """As `drawing_modes`, and networks of float32; one thread loads at a time."""
    with drawing_modes(), _LOADING:
        former = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(former)


def _no_autocast(kind: str) -> torch.autocast:
    return torch.autocast(kind, enabled=False)

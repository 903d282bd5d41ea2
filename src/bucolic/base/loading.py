"""What a table names as `module:name`, imported when it is needed and not before."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def loaded(place: str) -> Callable[..., Any]:
    """What stands at `module:name`."""
    module, _, name = place.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), name)
    return found

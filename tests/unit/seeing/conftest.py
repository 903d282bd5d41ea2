"""The world of made_world.py."""

import pytest

from made_world import World, make_world


@pytest.fixture(scope="session")
def world() -> World:
    """Its two splits."""
    return make_world()

"""The world of made_world.py, and studies in it."""

import pytest

from bucolic.evaluation.study import Study
from bucolic.seeing.jury import Jury
from made_world import BlindArtist, PerfectArtist, World, WorldProbe, WorldTowers, make_world


@pytest.fixture(scope="session")
def world() -> World:
    """Its two splits."""
    return make_world()


@pytest.fixture(scope="session")
def study(world: World) -> Study:
    """A perfect artist in that world."""
    return Study(
        test=world.test,
        train=world.train,
        attributes=world.attributes,
        artist=PerfectArtist(),
        jury=Jury(WorldTowers(), WorldProbe()),
        limit=250,
        draws=2,
        seed=0,
    )


@pytest.fixture(scope="session")
def blind_artist() -> BlindArtist:
    """An artist that ignores its prompts."""
    return BlindArtist()

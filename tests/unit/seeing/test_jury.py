import numpy as np

from bucolic.seeing.jury import Jury
from made_world import World, WorldProbe, WorldTowers

JURY = Jury(WorldTowers(), WorldProbe())


def test_pictures_of_another_size_reach_the_probe_at_64_px(world: World):
    """The probe takes 64 px; the towers see the pixels as they are."""
    views = JURY.look(world.test.images[:5])
    truth = [world.attributes.truth[int(image)] for image in world.test.image_ids[:5]]
    assert [fact["ground"] for fact in truth] == list(views.seen["ground"])
    assert views.vectors.shape == (5, 12)


def test_rows_may_repeat(world: World):
    """One picture can stand for many prompts."""
    views = JURY.look(world.test.images[:2]).take(np.array([1, 1, 0]))
    assert (views.pictures[0] == views.pictures[1]).all()
    assert len(views.seen["species"]) == 3

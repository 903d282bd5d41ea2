import numpy as np
import pytest

from bucolic.evaluation.denoising import LEVELS, denoising
from bucolic.seeing.jury import Jury
from bucolic.seeing.prompts import choose_prompts
from made_world import World, WorldProbe, WorldTowers

JURY = Jury(WorldTowers(), WorldProbe())


class Frail:
    """Loses the facts of a share of the pictures that is the level of the noise."""

    def noised(
        self, images: np.ndarray, image_vectors: np.ndarray, *, level: float, seed: int = 0
    ) -> np.ndarray:
        """Black in place of the last pictures."""
        assert (len(images), seed) == (len(image_vectors), 0)
        shown = images.copy()
        shown[len(images) - round(level * len(images)) :] = 0
        return shown


class Direct:
    """Has no latents."""

    def noised(self, *_: object, **__: object) -> None:
        """None."""


def test_the_share_of_facts_that_are_left_is_told_by_level(world: World):
    """Nothing is lost without noise, all but luck with the most; and n says of how many."""
    prompts = choose_prompts(world.test, world.attributes, limit=250)
    found = denoising(Frail(), world.test, prompts, world.attributes, JURY, 0)
    species = [found[f"noise_{round(100 * level)}_percent.species"] for level in LEVELS]
    assert [1.0, 0.8, 0.6, 0.4, 0.2, 0.0] == pytest.approx([figure.value for figure in species])
    assert {figure.n for figure in species} == {150}
    luck = found["noise_100_percent.count"].value
    assert luck is not None
    assert 0.2 < luck < 0.5


def test_where_nothing_is_known_there_is_a_reason(world: World):
    """No attributes, or no latents."""
    prompts = choose_prompts(world.test, world.attributes, limit=20)
    unknown = denoising(Frail(), world.test, prompts, None, JURY, 0)
    assert all("does not say" in str(figure.reason) for figure in unknown.values())
    direct = denoising(Direct(), world.test, prompts, world.attributes, JURY, 0)
    assert all("no latents" in str(figure.reason) for figure in direct.values())
    assert len(direct) == 3 * len(LEVELS)

import dataclasses

import numpy as np
import pytest

from bucolic.evaluation.memorisation import CONTROLS, memorisation
from bucolic.evaluation.scores import Exam, Sitting
from bucolic.evaluation.study import Study
from bucolic.seeing.jury import Captions, Jury
from bucolic.seeing.prompts import Prompts
from made_world import WorldTowers

SIZE_PX = 16


class PixelTowers(WorldTowers):
    """Sees pictures pixel by pixel, about their mean."""

    def embed_images(self, pictures: object) -> np.ndarray:
        """Grey values."""
        assert isinstance(pictures, list)
        grey = np.stack(
            [np.asarray(picture, np.float32).mean(axis=2).ravel() for picture in pictures]
        )
        return grey - 127


JURY = Jury(PixelTowers(), None)


def blobs(seed: int, number: int) -> np.ndarray:
    """Smooth pictures, uint8 [number, 3, 16, 16]."""
    coarse = np.random.default_rng(seed).integers(0, 256, (number, 3, 4, 4))
    return coarse.repeat(4, axis=2).repeat(4, axis=3).astype(np.uint8)


def sitting(made: np.ndarray, real: np.ndarray) -> Sitting:
    """These pictures for as many prompts."""
    rows = np.arange(len(made))
    nothing = np.empty(0, np.int64)
    prompts = Prompts(rows, rows, ({},) * len(made))
    captions = Captions(np.zeros((len(made), 12), np.float32))
    exam = Exam(prompts, captions, nothing, nothing.reshape(0, 99), False, 0)
    return Sitting(JURY.look(made), exam, JURY.look(real))


def test_a_model_of_its_own_ideas_is_let_off_and_all_controls_are_caught():
    """New pictures are no nearer to training than held-out ones; copies of it are."""
    train, made, real = blobs(0, 400), blobs(1, 150), blobs(2, 150)
    found = memorisation(sitting(made, real), train, JURY, seed=0)
    assert abs(found.figures["c_t_z"].value or 0) < 3
    share = found.figures["copied_share"]
    assert share.value is not None
    assert share.value < 0.03
    assert share.interval is not None
    assert share.interval[0] < 0.02
    assert found.controls == dict.fromkeys(CONTROLS, True)


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_model_that_copies_is_caught(mirrored: bool):
    """Mirrored or not."""
    train, real = blobs(0, 400), blobs(2, 150)
    made = train[:150, :, :, ::-1] if mirrored else train[:150]
    found = memorisation(sitting(np.ascontiguousarray(made), real), train, JURY, seed=0)
    assert found.figures["copied_share"].value == pytest.approx(0.97, abs=0.03)
    assert (found.figures["c_t_z"].value or 0) > 10


def test_too_few_held_out_images_are_not_testable(study: Study):
    """Under 100 there is a reason in place of a figure, and no control."""
    train, made, real = blobs(0, 400), blobs(1, 99), blobs(2, 99)
    found = memorisation(sitting(made, real), train, JURY, seed=0)
    assert all("not testable" in str(figure.reason) for figure in found.figures.values())
    assert found.controls == {}
    without = dataclasses.replace(sitting(made, real), real=None)
    assert memorisation(without, train, JURY, seed=0).controls == {}

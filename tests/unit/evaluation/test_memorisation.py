import dataclasses
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from bucolic.data.shards import Split
from bucolic.evaluation.memorisation import CONTROLS, Memorisation, memorisation
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


def sitting(made: np.ndarray, rebuilt: np.ndarray) -> Sitting:
    """These pictures for as many prompts, and what the autoencoder makes of real ones."""
    rows = np.arange(len(made))
    nothing = np.empty(0, np.int64)
    prompts = Prompts(rows, rows, ({},) * len(made))
    captions = Captions(np.zeros((len(made), 12), np.float32))
    exam = Exam(prompts, captions, nothing, nothing.reshape(0, 99), False, 0)
    return Sitting(JURY.look(made), exam, rebuilt=JURY.look(rebuilt))


def split(pictures: np.ndarray) -> Split:
    """A train split of these pictures, each embedded as its number."""
    numbers = np.arange(len(pictures), dtype=np.float32)[:, None]
    found: Any = SimpleNamespace(images=pictures, image_vectors=numbers)
    return cast("Split", found)


def as_it_is(pictures: np.ndarray, _vectors: np.ndarray) -> np.ndarray:
    """What an autoencoder that loses nothing gives back."""
    return pictures


def found_of(made: np.ndarray, real: np.ndarray, train: np.ndarray) -> Memorisation:
    """The test of pictures whose decoder loses nothing."""
    return memorisation(sitting(made, real), split(train), JURY, as_it_is, 0)


def test_copies_are_asked_for_as_the_autoencoder_gives_them_back():
    """An autoencoder that keeps nothing hides them; it is given the pictures' own embeddings."""
    train, made, real = blobs(0, 400), blobs(1, 150), blobs(2, 150)
    given = []

    def forgetful(pictures: np.ndarray, vectors: np.ndarray) -> np.ndarray:
        given.append((pictures, vectors[:, 0].astype(int)))
        return blobs(3, len(pictures))

    found = memorisation(sitting(made, real), split(train), JURY, forgetful, 0)
    assert dict.fromkeys(CONTROLS, False) == found.decoded
    ((copies, of_train),) = given
    own = train[of_train]
    assert all(
        np.array_equal(picture, one) or np.array_equal(picture, one[..., ::-1])
        for picture, one in zip(copies, own, strict=True)
    )
    assert dict.fromkeys(CONTROLS, True) == found_of(made, real, train).decoded


def test_what_the_decoder_does_to_every_picture_is_no_distance_from_training():
    """Held-out pictures have gone through it, too: beside them as they are, z would be far off."""
    train, made, real = blobs(0, 400), blobs(1, 150), blobs(2, 150)
    veil = blobs(9, 1) // 2

    def z_of(rebuilt: np.ndarray) -> float:
        found = found_of(made // 2 + veil, rebuilt, train)
        return float(found.figures["c_t_z"].value or 0)

    assert abs(z_of(real // 2 + veil)) < 3
    assert abs(z_of(real)) > 4


def test_a_model_of_its_own_ideas_is_let_off_and_all_controls_are_caught():
    """New pictures are no nearer to training than held-out ones; copies of it are."""
    train, made, real = blobs(0, 400), blobs(1, 150), blobs(2, 150)
    found = found_of(made, real, train)
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
    found = found_of(np.ascontiguousarray(made), real, train)
    assert found.figures["copied_share"].value == pytest.approx(0.97, abs=0.03)
    assert (found.figures["c_t_z"].value or 0) > 10


def test_too_few_held_out_images_are_not_testable(study: Study):
    """Under 100 there is a reason in place of a figure, and no control."""
    train, made, real = blobs(0, 400), blobs(1, 99), blobs(2, 99)
    found = found_of(made, real, train)
    assert all("not testable" in str(figure.reason) for figure in found.figures.values())
    assert found.controls == found.decoded == {}
    without = dataclasses.replace(sitting(made, real), rebuilt=None)
    assert memorisation(without, split(train), JURY, as_it_is, 0).controls == {}

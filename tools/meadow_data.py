"""Rendered scenes for the tools that train on Meadow: pictures at 64 px with their truth."""

import functools
import multiprocessing
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bucolic.meadow.draw import draw_scene
from bucolic.meadow.scenes import CANVAS_PX, Scene, sample_scene

SIZE_PX = 64
CHUNK = 500
BLURRED_SHARE = 0.25
BLUR_SIZES_PX = (30, 56)
PADDING_PX = (6.0, 24.0)
CENTRE_PX = CANVAS_PX / 2
Truth = Mapping[str, str]


@dataclass(frozen=True)
class Renders:
    """Pictures with what they show.

    Attributes:
        pictures: uint8 [n, 3, 64, 64].
        truths: attribute to value for each picture; a cropped one keeps what is surely in view.
        scenes: the scenes drawn.
    """

    pictures: NDArray[np.uint8]
    truths: list[Truth]
    scenes: list[Scene]


@dataclass(frozen=True)
class Recipe:
    """How training pictures differ from the data set's.

    Attributes:
        seed: seed of the scenes.
        rural_share: share of scenes that are of the countryside for sure, on top of chance.
        cropped_share: share of herds shown larger, by a crop around them.
        blurred: blur a quarter of the pictures as a generator would.
    """

    seed: int
    rural_share: float = 0.0
    cropped_share: float = 0.0
    blurred: bool = False


def render(recipe: Recipe, number: int, workers: int = 2) -> Renders:
    """Draw `number` scenes of all combinations, the same for any number of workers."""
    work = functools.partial(_render_chunk, recipe)
    starts = range(0, number, CHUNK)
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        parts = list(pool.map(work, starts, [min(start + CHUNK, number) for start in starts]))
    return Renders(
        np.concatenate([part.pictures for part in parts]),
        [truth for part in parts for truth in part.truths],
        [scene for part in parts for scene in part.scenes],
    )


def _render_chunk(recipe: Recipe, start: int, stop: int) -> Renders:
    drawn = [_render_one(recipe, index) for index in range(start, stop)]
    return Renders(
        np.stack([picture for picture, _, _ in drawn]),
        [truth for _, truth, _ in drawn],
        [scene for _, _, scene in drawn],
    )


def _render_one(recipe: Recipe, index: int) -> tuple[NDArray[np.uint8], Truth, Scene]:
    rng = np.random.default_rng([recipe.seed, index])
    scene = sample_scene(rng, "all")
    if rng.random() < recipe.rural_share:
        while scene.setting != "countryside":
            scene = sample_scene(rng, "all")
    picture, truth = draw_scene(scene), scene.truth
    if scene.species != "none" and rng.random() < recipe.cropped_share:
        picture = picture.crop(_around_herd(scene, rng))
        truth = {name: truth[name] for name in ("species", "colour", "count", "ground", "setting")}
    picture = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    if recipe.blurred and rng.random() < BLURRED_SHARE:
        small = int(rng.integers(*BLUR_SIZES_PX))
        picture = picture.resize((small, small), Image.Resampling.BICUBIC)
        picture = picture.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1), truth, scene


def _around_herd(scene: Scene, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A square of the picture that holds every animal and some ground."""
    boxes = np.array([animal.box for animal in scene.sprites])
    low, high = boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)
    side = min(float((high - low).max()) + rng.uniform(*PADDING_PX), float(CANVAS_PX))
    corner = (low + high) / 2 - side / 2 + rng.uniform(-3, 3, size=2)
    left, top = np.clip(corner, 0, CANVAS_PX - side)
    return (round(left), round(top), round(left + side), round(top + side))


def project_root() -> Path:
    """The checkout these tools belong to."""
    return Path(__file__).resolve().parent.parent


def say(text: str) -> None:
    """Print at once, also into a file."""
    print(text, flush=True)
    sys.stdout.flush()

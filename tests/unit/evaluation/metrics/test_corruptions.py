"""Every metric moves the right way when pictures that are right are made worse, step by step.

The pictures are drawn scenes, seen by the shipped meadow-clip and the probe: what evaluation uses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
from PIL import Image, ImageFilter

from bucolic.evaluation.diversity import mean_distance
from bucolic.evaluation.metrics.cmmd import cmmd
from bucolic.evaluation.metrics.copying import c_t, copied_share, nearest_distances
from bucolic.evaluation.metrics.coverage import densities_and_covered
from bucolic.evaluation.metrics.fid import frechet_distance
from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.evaluation.metrics.r_precision import r_precision_hits
from bucolic.evaluation.metrics.ssim import ssim
from bucolic.meadow.captions import caption_scene
from bucolic.meadow.draw import draw_scene
from bucolic.meadow.scenes import sample_scene
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import Towers, load_towers
from bucolic.seeing.metrics.attributes import agreement, all_right
from bucolic.seeing.metrics.kid import kid, on_sphere
from bucolic.seeing.metrics.sharpness import sharpness_ratio
from bucolic.seeing.metrics.similarity import clip_similarity
from bucolic.seeing.probe import load_probe

SCENES, SIDE_PX = 240, 64


@dataclass(frozen=True)
class Drawn:
    """Scenes with what is said of them, in thirds: to be corrupted, real ones beside them, train.

    Attributes:
        pictures: uint8 [n, 3, 64, 64].
        captions: one a picture.
        states: what each caption says.
        towers: who embeds.
    """

    pictures: np.ndarray
    captions: Sequence[str]
    states: Sequence[dict[str, str]]
    towers: Towers

    def third(self, number: int) -> np.ndarray:
        """Pictures of one third."""
        return np.array_split(self.pictures, 3)[number]

    def seen(self, pictures: np.ndarray) -> np.ndarray:
        """Their embeddings."""
        return self.towers.embed_images([Image.fromarray(p) for p in as_rows(pictures)])


def as_rows(pictures: np.ndarray) -> np.ndarray:
    """Pictures [n, 3, s, s] as [n, s, s, 3]."""
    return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    """What all tests look at."""
    scenes = [sample_scene(np.random.default_rng([5, i])) for i in range(SCENES)]
    said = [
        caption_scene(scene, np.random.default_rng([6, i]))[0] for i, scene in enumerate(scenes)
    ]
    small = [draw_scene(scene).resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX) for scene in scenes]
    pictures = np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in small])
    towers = load_towers(ClipConfig(model="meadow-clip"), "cpu")
    states = [dict(caption.states) for caption in said]
    return Drawn(pictures, [caption.text for caption in said], states, towers)


def blurred(pictures: np.ndarray, strength: int) -> np.ndarray:
    """With a Gaussian of two px a step."""
    shown = [
        Image.fromarray(p).filter(ImageFilter.GaussianBlur(2 * strength)) for p in as_rows(pictures)
    ]
    return np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in shown])


def noisy(pictures: np.ndarray, strength: int) -> np.ndarray:
    """With noise of 25 grey levels a step."""
    noise = 25 * strength * np.random.default_rng(0).standard_normal(pictures.shape)
    return (pictures + noise).clip(0, 255).astype(np.uint8)


def shuffled(pictures: np.ndarray, strength: int) -> np.ndarray:
    """A half or all of them in each other's places."""
    moved = len(pictures) * strength // 2
    return np.concatenate([np.roll(pictures[:moved], 1, axis=0), pictures[moved:]])


def repeated(pictures: np.ndarray, strength: int) -> np.ndarray:
    """An eighth of them, or a single one, again and again."""
    kept = {0: len(pictures), 1: len(pictures) // 8, 2: 1}[strength]
    return np.resize(pictures[:kept], pictures.shape)


def distance_to_real(
    measure: Callable[[np.ndarray, np.ndarray], float], drawn: Drawn, pictures: np.ndarray
) -> float:
    """From the pictures' embeddings to those of other real ones."""
    return measure(drawn.seen(pictures), drawn.seen(drawn.third(1)))


def kid_on_sphere(left: np.ndarray, right: np.ndarray) -> float:
    """KID as evaluation takes it."""
    return kid(on_sphere(left), on_sphere(right))


def covered(made: np.ndarray, real: np.ndarray) -> float:
    """Share of real ones with a made one near."""
    return float(densities_and_covered(made, real)[1].mean())


def right(drawn: Drawn, pictures: np.ndarray) -> float:
    """Share of pictures whose caption the probe finds true."""
    states = drawn.states[: len(pictures)]
    return float(np.nanmean(all_right(agreement(load_probe().predict(pictures), states))))


def similar(drawn: Drawn, pictures: np.ndarray) -> float:
    """Mean cosine with the captions."""
    texts = drawn.towers.embed_texts(drawn.captions[: len(pictures)])
    return float(clip_similarity(drawn.seen(pictures), texts).mean())


def precise(drawn: Drawn, pictures: np.ndarray) -> float:
    """R-precision against ten captions of other scenes."""
    n = len(pictures)
    others = (np.arange(n)[:, None] + np.arange(20, 30)) % n
    texts = drawn.towers.embed_texts(drawn.captions[:n])
    return float(r_precision_hits(drawn.seen(pictures), texts, np.arange(n), others).mean())


def varied(drawn: Drawn, pictures: np.ndarray) -> float:
    """Mean distance of two pictures."""
    return mean_distance(drawn.seen(pictures))


Measure = Callable[[Drawn, np.ndarray], float]
FALLS: dict[str, tuple[Measure, Callable[[np.ndarray, int], np.ndarray]]] = {
    "psnr, noise": (lambda d, p: float(np.minimum(psnr_db(p, d.third(0)), 99).mean()), noisy),
    "psnr, blur": (lambda d, p: float(np.minimum(psnr_db(p, d.third(0)), 99).mean()), blurred),
    "ssim, blur": (lambda d, p: float(ssim(p, d.third(0)).mean()), blurred),
    "ssim, noise": (lambda d, p: float(ssim(p, d.third(0)).mean()), noisy),
    "sharpness, blur": (lambda d, p: sharpness_ratio(p, d.third(0)) or 0.0, blurred),
    "all right, shuffle": (right, shuffled),
    "all right, blur": (right, blurred),
    "similarity, shuffle": (similar, shuffled),
    "R-precision, shuffle": (precise, shuffled),
    "R-precision, blur": (precise, blurred),
    "coverage, repetition": (partial(distance_to_real, covered), repeated),
    "diversity, repetition": (varied, repeated),
}
RISES: dict[str, tuple[Measure, Callable[[np.ndarray, int], np.ndarray]]] = {
    f"{name}, {change.__name__}": (partial(distance_to_real, measure), change)
    for name, measure in (("KID", kid_on_sphere), ("FID", frechet_distance), ("CMMD", cmmd))
    for change in (blurred, noisy, repeated)
}


@pytest.mark.parametrize("name", [*FALLS, *RISES])
def test_the_worse_the_pictures_the_worse_the_figure(drawn: Drawn, name: str):
    """At no, some and much corruption the figure moves one way."""
    measure, change = (FALLS | RISES)[name]
    values = [measure(drawn, change(drawn.third(0), strength)) for strength in (0, 1, 2)]
    assert values == sorted(values, reverse=name in FALLS), values
    assert len(set(values)) == len(values)


def test_the_more_copies_of_training_the_surer_they_are_found(drawn: Drawn):
    """None, a quarter or all: Meehan's z and the copied share grow, and are near 0 without."""
    made, held_out, train = (drawn.seen(drawn.third(number)) for number in range(3))
    limits = nearest_distances(held_out, train)
    found = []
    for share in (0.0, 0.25, 1.0):
        copies = int(share * len(made))
        distances = nearest_distances(np.concatenate([train[:copies], made[copies:]]), train)
        found.append((c_t(distances, limits), copied_share(distances, limits)[0]))
    z, shares = zip(*found, strict=True)
    assert z == tuple(sorted(z))
    assert abs(z[0]) < 3 < z[2]
    assert shares == tuple(sorted(shares))
    assert shares[0] < 0.1
    assert shares[2] > 0.9

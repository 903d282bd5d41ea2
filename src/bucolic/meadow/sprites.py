"""The silhouettes of animals and things, and where their outlines lie in a picture.

A sprite is designed 1 high, standing on y = 0 and facing right, as parts with a tone each; the
tone's colour is chosen when it is drawn. Species must be told apart by outline alone, at 12 px:
the cow is long and horned, the sheep a round cloud, the horse slender with mane and tail, the
alpaca upright on a long neck.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bucolic.meadow.shapes import Polygon, barrel, box, cloud, ellipse, limb, points

Part = tuple[str, Polygon]


@dataclass(frozen=True)
class Sprite:
    """One sprite in a picture; lengths in picture pixels.

    Attributes:
        kind: name in `SILHOUETTES`.
        x: middle of the sprite.
        feet_y: where it stands, from the top of the picture.
        height: from feet to top.
        facing: 1 to the right, -1 to the left.
        paint: index of its paint, for things that come in several.
    """

    kind: str
    x: float
    feet_y: float
    height: float
    facing: int
    paint: int = 0

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        half = self.height * aspect(self.kind) / 2
        return (self.x - half, self.feet_y - self.height, self.x + half, self.feet_y)


def _cow() -> list[Part]:
    return [
        ("shade", points((-0.52, 0.82), (-0.62, 0.76), (-0.66, 0.4), (-0.62, 0.4), (-0.57, 0.72))),
        ("shade", ellipse(-0.64, 0.36, 0.05, 0.1, corners=10)),
        ("far", limb(-0.33, 0.5, 0.13, 0.1)),
        ("far", limb(0.27, 0.5, 0.12, 0.1)),
        ("pink", ellipse(-0.24, 0.37, 0.12, 0.09)),
        ("main", limb(-0.46, 0.55, 0.17, 0.11)),
        ("main", limb(0.4, 0.55, 0.16, 0.11)),
        ("main", barrel(-0.05, 0.63, 0.53, 0.25)),
        ("main", points((0.3, 0.86), (0.28, 0.5), (0.56, 0.62), (0.56, 0.88))),
        ("horn", points((0.5, 0.86), (0.42, 0.96), (0.46, 1.06), (0.48, 0.97), (0.57, 0.9))),
        ("horn", points((0.62, 0.9), (0.7, 0.97), (0.72, 1.06), (0.77, 0.95), (0.68, 0.86))),
        ("shade", ellipse(0.44, 0.82, 0.09, 0.045, tilt_deg=-15, corners=12)),
        ("main", ellipse(0.6, 0.77, 0.14, 0.17, tilt_deg=25)),
        ("pink", ellipse(0.67, 0.65, 0.1, 0.075, tilt_deg=10)),
        ("eye", ellipse(0.6, 0.81, 0.026, 0.026, corners=8)),
    ]


def _sheep() -> list[Part]:
    return [
        ("far", limb(-0.2, 0.4, 0.11, 0.09)),
        ("far", limb(0.24, 0.4, 0.11, 0.09)),
        ("face", limb(-0.32, 0.4, 0.12, 0.1)),
        ("face", limb(0.12, 0.4, 0.12, 0.1)),
        ("main", ellipse(-0.56, 0.62, 0.1, 0.12, tilt_deg=20, corners=12)),
        ("main", cloud(-0.05, 0.62, 0.55, 0.4, bumps=13)),
        ("light", cloud(-0.08, 0.76, 0.36, 0.2, bumps=9)),
        ("face", ellipse(0.36, 0.68, 0.13, 0.06, tilt_deg=-25, corners=12)),
        ("face", ellipse(0.54, 0.62, 0.14, 0.2, tilt_deg=18)),
        ("main", cloud(0.48, 0.83, 0.17, 0.13, bumps=7)),
        ("eye", ellipse(0.56, 0.67, 0.03, 0.03, corners=8)),
    ]


def _horse() -> list[Part]:
    tail = [(-0.38, 0.74), (-0.5, 0.72), (-0.6, 0.5), (-0.6, 0.16), (-0.5, 0.22), (-0.45, 0.55)]
    mane = [(0.5, 1.0), (0.36, 0.99), (0.2, 0.88), (0.06, 0.7), (0.2, 0.68), (0.38, 0.88)]
    return [
        ("mane", points(*tail)),
        ("far", limb(-0.28, 0.56, 0.12, 0.06)),
        ("far", limb(0.2, 0.56, 0.11, 0.06)),
        ("main", limb(-0.37, 0.62, 0.15, 0.065)),
        ("main", limb(0.29, 0.6, 0.13, 0.065)),
        ("main", barrel(-0.05, 0.62, 0.4, 0.155, power=2.4)),
        ("main", ellipse(-0.28, 0.65, 0.17, 0.15)),
        ("main", points((0.08, 0.74), (0.34, 0.5), (0.42, 0.62), (0.56, 0.86), (0.4, 0.98))),
        ("mane", points(*mane)),
        ("main", points((0.42, 0.95), (0.43, 1.06), (0.49, 0.97))),
        ("main", ellipse(0.57, 0.85, 0.2, 0.09, tilt_deg=-42)),
        ("shade", ellipse(0.67, 0.75, 0.075, 0.065, tilt_deg=-42, corners=12)),
        ("eye", ellipse(0.53, 0.91, 0.024, 0.024, corners=8)),
    ]


def _alpaca() -> list[Part]:
    return [
        ("far", limb(-0.17, 0.4, 0.13, 0.09)),
        ("far", limb(0.17, 0.4, 0.13, 0.09)),
        ("main", limb(-0.27, 0.42, 0.15, 0.1)),
        ("main", limb(0.08, 0.42, 0.15, 0.1)),
        ("main", cloud(-0.36, 0.5, 0.1, 0.1, bumps=6)),
        ("main", cloud(-0.06, 0.45, 0.35, 0.2, bumps=11)),
        ("main", cloud(0.2, 0.7, 0.13, 0.36, bumps=12, depth=0.1)),
        ("light", cloud(-0.08, 0.52, 0.23, 0.1, bumps=8)),
        ("shade", points((0.13, 0.98), (0.09, 1.13), (0.15, 1.17), (0.2, 1.02))),
        ("shade", points((0.22, 1.02), (0.22, 1.16), (0.27, 1.17), (0.3, 1.0))),
        ("main", ellipse(0.27, 0.96, 0.15, 0.1)),
        ("face", ellipse(0.38, 0.94, 0.09, 0.065)),
        ("main", cloud(0.21, 1.04, 0.12, 0.08, bumps=6)),
        ("eye", ellipse(0.31, 0.98, 0.024, 0.024, corners=8)),
    ]


def _dog() -> list[Part]:
    return [
        ("main", points((-0.42, 0.6), (-0.6, 0.86), (-0.56, 0.92), (-0.34, 0.66))),
        ("far", limb(-0.26, 0.4, 0.12, 0.09)),
        ("far", limb(0.2, 0.4, 0.12, 0.09)),
        ("main", limb(-0.38, 0.5, 0.17, 0.1)),
        ("main", limb(0.3, 0.5, 0.14, 0.1)),
        ("main", barrel(-0.04, 0.52, 0.42, 0.15, power=2.6)),
        ("main", points((0.16, 0.6), (0.36, 0.44), (0.54, 0.74), (0.36, 0.86))),
        ("main", ellipse(0.48, 0.82, 0.18, 0.17)),
        ("main", barrel(0.64, 0.76, 0.14, 0.09, power=2.6)),
        ("eye", ellipse(0.76, 0.79, 0.045, 0.04, corners=8)),
        ("shade", ellipse(0.36, 0.76, 0.08, 0.19, tilt_deg=-12)),
        ("eye", ellipse(0.54, 0.87, 0.03, 0.03, corners=8)),
    ]


def _person() -> list[Part]:
    return [
        ("trousers", limb(-0.07, 0.5, 0.15, 0.11)),
        ("trousers", limb(0.07, 0.5, 0.15, 0.11)),
        ("skin", limb(-0.19, 0.74, 0.07, 0.06, bottom=0.42)),
        ("skin", limb(0.19, 0.74, 0.07, 0.06, bottom=0.42)),
        ("paint", barrel(0.0, 0.62, 0.19, 0.19)),
        ("skin", ellipse(0.0, 0.89, 0.1, 0.11)),
        ("hair", points((-0.11, 0.88), (-0.1, 1.0), (0.0, 1.03), (0.1, 1.0), (0.11, 0.92))),
    ]


def _car() -> list[Part]:
    roof = [(-0.72, 0.52), (-0.46, 0.98), (0.36, 1.0), (0.72, 0.54)]
    return [
        ("paint", points(*roof)),
        ("glass", points((-0.56, 0.56), (-0.38, 0.88), (-0.06, 0.89), (-0.06, 0.56))),
        ("glass", points((0.04, 0.56), (0.04, 0.89), (0.3, 0.88), (0.54, 0.56))),
        ("paint", barrel(0.0, 0.42, 1.1, 0.24, power=5)),
        ("lamp", ellipse(1.02, 0.46, 0.07, 0.08, corners=12)),
        ("tyre", ellipse(-0.62, 0.2, 0.22, 0.2)),
        ("tyre", ellipse(0.62, 0.2, 0.22, 0.2)),
        ("metal", ellipse(-0.62, 0.2, 0.1, 0.09, corners=12)),
        ("metal", ellipse(0.62, 0.2, 0.1, 0.09, corners=12)),
    ]


def _boat() -> list[Part]:
    return [
        ("wood", box(-0.03, 0.03, 0.2, 1.0)),
        ("sail", points((0.06, 0.3), (0.06, 0.97), (0.48, 0.32))),
        ("sail", points((-0.06, 0.3), (-0.06, 0.86), (-0.38, 0.32))),
        ("paint", points((-0.6, 0.24), (0.62, 0.24), (0.42, 0.0), (-0.42, 0.0))),
        ("sail", points((-0.6, 0.24), (0.62, 0.24), (0.59, 0.19), (-0.56, 0.19))),
    ]


def _bench() -> list[Part]:
    return [
        ("metal", box(-0.95, -0.85, 0.0, 0.55)),
        ("metal", box(0.85, 0.95, 0.0, 0.55)),
        ("metal", box(-0.75, -0.67, 0.4, 1.0)),
        ("metal", box(0.67, 0.75, 0.4, 1.0)),
        ("wood", box(-0.98, 0.98, 0.78, 0.98)),
        ("wood", box(-0.98, 0.98, 0.56, 0.72)),
        ("shade_wood", box(-1.08, 1.08, 0.36, 0.5)),
    ]


def _couch() -> list[Part]:
    return [
        ("wood", box(-0.85, -0.75, 0.0, 0.14)),
        ("wood", box(0.75, 0.85, 0.0, 0.14)),
        ("paint", barrel(0.0, 0.64, 0.86, 0.36, power=6)),
        ("paint_shade", barrel(-0.4, 0.42, 0.41, 0.13, power=5)),
        ("paint_shade", barrel(0.4, 0.42, 0.41, 0.13, power=5)),
        ("paint", box(-0.9, 0.9, 0.12, 0.32)),
        ("paint", barrel(-0.94, 0.4, 0.15, 0.3, power=5)),
        ("paint", barrel(0.94, 0.4, 0.15, 0.3, power=5)),
    ]


def _chair() -> list[Part]:
    return [
        ("shade_wood", box(-0.2, -0.13, 0.0, 0.44)),
        ("shade_wood", box(0.16, 0.23, 0.0, 0.44)),
        ("wood", box(-0.32, -0.24, 0.0, 1.0)),
        ("wood", box(0.27, 0.35, 0.0, 0.44)),
        ("paint", points((-0.32, 0.52), (-0.2, 0.55), (-0.17, 0.99), (-0.3, 1.0))),
        ("paint", points((-0.34, 0.42), (0.38, 0.42), (0.36, 0.54), (-0.3, 0.54))),
    ]


SILHOUETTES: dict[str, Callable[[], Sequence[Part]]] = {
    "cow": _cow,
    "sheep": _sheep,
    "horse": _horse,
    "alpaca": _alpaca,
    "dog": _dog,
    "person": _person,
    "car": _car,
    "boat": _boat,
    "bench": _bench,
    "couch": _couch,
    "chair": _chair,
}


@cache
def design(kind: str) -> tuple[Part, ...]:
    """The parts of a sprite, scaled to a height of exactly 1 and centred on x = 0."""
    parts = SILHOUETTES[kind]()
    everything = np.concatenate([polygon for _, polygon in parts])
    low, high = everything.min(axis=0), everything.max(axis=0)
    origin = ((low[0] + high[0]) / 2, low[1])
    return tuple((tone, (polygon - origin) / (high[1] - low[1])) for tone, polygon in parts)


@cache
def aspect(kind: str) -> float:
    """Width of a sprite over its height."""
    everything = np.concatenate([polygon for _, polygon in design(kind)])
    return float(np.ptp(everything[:, 0]))


def outlines(sprite: Sprite) -> list[Part]:
    """The parts of a sprite in picture pixels, the y axis pointing down, back to front."""
    scale = np.array([sprite.facing * sprite.height, -sprite.height])
    origin = np.array([sprite.x, sprite.feet_y])
    return [(tone, polygon * scale + origin) for tone, polygon in design(sprite.kind)]

"""A scene as a picture: scenery first, then the sprites from far to near, each on its shadow."""

import numpy as np
from PIL import Image

from bucolic.meadow.canvas import Canvas
from bucolic.meadow.palette import (
    ANIMAL_ACCENTS,
    COATS,
    DOG_COATS,
    FIGURE_LIGHT,
    MOONLIT_OUTLINE,
    PAINTS,
    RGB,
    THING_TONES,
    lit,
    mixed,
)
from bucolic.meadow.scenery import backdrop, ground_at, paint_scenery
from bucolic.meadow.scenes import CANVAS_PX, Scene
from bucolic.meadow.sprites import Sprite, outlines

OUTLINE_PX = 1.5
SHADOW: RGB = (26, 28, 54)


def draw_scene(scene: Scene) -> Image.Image:
    """Draw a scene; RGB, 128 x 128 pixels. The same scene always gives the same pixels."""
    canvas = Canvas(CANVAS_PX, backdrop(scene))
    paint_scenery(canvas, scene, np.random.default_rng(scene.decor))
    for sprite in scene.sprites:
        _paint_shadow(canvas, scene, sprite)
    for sprite in scene.sprites:
        _paint_sprite(canvas, sprite, _tones(scene, sprite))
    return canvas.finish()


def _paint_shadow(canvas: Canvas, scene: Scene, sprite: Sprite) -> None:
    left, _, right, _ = sprite.box
    ground = ground_at(scene, sprite.feet_y)
    for reach, share in ((1.06, 0.12), (0.94, 0.24), (0.8, 0.36)):
        rx = reach * (right - left) / 2
        canvas.ellipse(sprite.x, sprite.feet_y - 0.5, rx, 0.13 * rx, mixed(ground, SHADOW, share))


def _paint_sprite(canvas: Canvas, sprite: Sprite, tones: dict[str, RGB]) -> None:
    parts = outlines(sprite)
    for _, polygon in parts:
        canvas.line(polygon, tones["outline"], OUTLINE_PX, closed=True)
    for tone, polygon in parts:
        canvas.polygon(polygon, tones[tone])


def _tones(scene: Scene, sprite: Sprite) -> dict[str, RGB]:
    light = FIGURE_LIGHT[scene.sky or "blue"]
    if scene.colour is not None:
        tones = COATS[scene.colour] | ANIMAL_ACCENTS
    elif sprite.kind == "dog":
        tones = DOG_COATS[sprite.paint]
    else:
        paint = PAINTS[sprite.paint]
        tones = THING_TONES | {"paint": paint, "paint_shade": mixed(paint, (0, 0, 0), 0.15)}
    shown = {tone: lit(colour, light) for tone, colour in tones.items()}
    if scene.sky == "night" and scene.colour in ("black", "brown"):
        shown["outline"] = MOONLIT_OUTLINE
    return shown

"""Everything behind the animals: skies, ridges, woods, buildings, rooms, the sea and the ground.

Each painter takes the canvas, the scene and a generator seeded by the scene for details that no
attribute names.
"""

import numpy as np

from bucolic.meadow.canvas import Canvas, Stops
from bucolic.meadow.palette import (
    GROUND_GRADIENTS,
    RGB,
    SCENERY_LIGHT,
    SKY_GRADIENTS,
    SNOW_AT_SUNSET,
    lit,
    mixed,
)
from bucolic.meadow.scenes import CANVAS_PX, Scene
from bucolic.meadow.shapes import Polygon, points

WALLS: tuple[RGB, ...] = ((232, 214, 190), (198, 214, 206), (206, 204, 222), (236, 200, 186))
FACADES: tuple[RGB, ...] = (
    (196, 120, 100), (170, 152, 168), (214, 184, 136), (130, 146, 170), (186, 170, 158),
)  # fmt: skip


def backdrop(scene: Scene) -> Stops:
    """The gradient of sky, or wall, and ground as pairs of row and colour."""
    horizon = scene.horizon
    if scene.sky is None:
        wall = WALLS[scene.decor % len(WALLS)]
        above = [(0.0, mixed(wall, (255, 255, 255), 0.25)), (horizon, wall)]
    else:
        top, middle, low = SKY_GRADIENTS[scene.sky]
        above = [(0.0, top), (0.55 * horizon, middle), (horizon, low)]
    far, near = (light_of(scene, colour) for colour in GROUND_GRADIENTS[scene.ground])
    return [*above, (horizon + 0.01, far), (float(CANVAS_PX), near)]


def light_of(scene: Scene, colour: RGB) -> RGB:
    """A colour of the scenery under the scene's sky; snow keeps its own tint at sunset."""
    if (scene.sky, scene.ground) == ("sunset", "snow"):
        return lit(colour, SNOW_AT_SUNSET)
    return lit(colour, SCENERY_LIGHT[scene.sky or "blue"])


def ground_at(scene: Scene, y: float) -> RGB:
    """The ground's colour in row y."""
    far, near = GROUND_GRADIENTS[scene.ground]
    share = (y - scene.horizon) / (CANVAS_PX - scene.horizon)
    return light_of(scene, mixed(far, near, min(max(share, 0.0), 1.0)))


def paint_scenery(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    """Paint all that stands or lies behind the sprites."""
    if scene.sky is not None:
        _SKIES[scene.sky](canvas, scene, rng)
    if scene.background in _BACKGROUNDS:
        _BACKGROUNDS[scene.background](canvas, scene, rng)
    _GROUNDS[scene.ground](canvas, scene, rng)
    if scene.fence == "yes":
        _fence(canvas, scene, rng)


def _blue_sky(canvas: Canvas, _: Scene, rng: np.random.Generator) -> None:
    x, y = rng.uniform(16, 112), rng.uniform(12, 22)
    canvas.ellipse(x, y, 10, 10, (190, 218, 226))
    canvas.ellipse(x, y, 7, 7, (255, 232, 130))
    for _number in range(rng.integers(2, 4)):
        _cloud(canvas, rng, (250, 252, 254), (226, 238, 248))


def _grey_sky(canvas: Canvas, _: Scene, rng: np.random.Generator) -> None:
    for _number in range(rng.integers(5, 8)):
        _cloud(canvas, rng, (190, 196, 202), (158, 166, 174), scale=1.5)


def _sunset_sky(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    x, y = rng.uniform(20, 108), scene.horizon - rng.uniform(14, 24)
    canvas.ellipse(x, y, 13, 13, (250, 172, 112))
    canvas.ellipse(x, y, 10, 10, (255, 226, 140))
    for _ in range(rng.integers(2, 4)):
        left, row = rng.uniform(-10, 90), rng.uniform(6, 30)
        canvas.ellipse(left + 20, row, rng.uniform(16, 30), rng.uniform(1.2, 2.4), (246, 164, 132))


def _night_sky(canvas: Canvas, _: Scene, rng: np.random.Generator) -> None:
    for _star in range(rng.integers(16, 26)):
        size = rng.uniform(0.5, 1.1)
        canvas.ellipse(rng.uniform(2, 126), rng.uniform(2, 44), size, size, (226, 230, 250))
    x, y = rng.uniform(16, 112), rng.uniform(13, 22)
    canvas.ellipse(x, y, 10, 10, (46, 58, 108))
    canvas.ellipse(x, y, 7.5, 7.5, (248, 244, 218))
    canvas.ellipse(x - 2, y + 1.5, 1.6, 1.6, (226, 220, 196))
    canvas.ellipse(x + 2.4, y - 2, 1.1, 1.1, (226, 220, 196))


def _cloud(
    canvas: Canvas, rng: np.random.Generator, light: RGB, dark: RGB, *, scale: float = 1.0
) -> None:
    x, y, size = rng.uniform(6, 122), rng.uniform(6, 34), scale * rng.uniform(4.0, 6.5)
    for shift, colour in ((1.2, dark), (0.0, light)):
        canvas.ellipse(x, y + shift, 2.1 * size, 0.55 * size, colour)
        canvas.ellipse(x - 0.8 * size, y - 0.3 * size + shift, 0.8 * size, 0.6 * size, colour)
        canvas.ellipse(x + 0.4 * size, y - 0.55 * size + shift, size, 0.75 * size, colour)


def _mountains(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    base, centres = scene.horizon + 1, np.linspace(4, 124, 4) + rng.uniform(-12, 12, size=4)
    for index in rng.permutation(4):
        height, half = rng.uniform(26, 40), rng.uniform(26, 36)
        x, peak = float(centres[index]), base - height
        rock = light_of(scene, mixed((122, 136, 164), (150, 160, 184), rng.random()))
        dark = light_of(scene, mixed((92, 104, 134), (112, 124, 152), rng.random()))
        canvas.polygon(points((x - half, base), (x, peak), (x + half, base)), rock)
        shoulder = points((x, peak), (x + half, base), (x + 0.2 * half, base), (x - 3, peak + 14))
        canvas.polygon(shoulder, dark)
        canvas.polygon(_snow_cap(x, peak, half / height), light_of(scene, (248, 250, 255)))


def _snow_cap(x: float, peak: float, slope: float) -> Polygon:
    low = 9 * slope
    return points(
        (x, peak), (x + low, peak + 9), (x + 0.45 * low, peak + 7), (x + 0.1 * low, peak + 11),
        (x - 0.35 * low, peak + 7), (x - low, peak + 9),
    )  # fmt: skip


_HILL_COLOURS: dict[str, tuple[RGB, RGB]] = {
    "grass": ((138, 184, 136), (104, 166, 104)),
    "snow": ((186, 203, 226), (206, 219, 236)),
    "sand": ((178, 176, 120), (196, 172, 112)),
}


def _hills(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    for layer, (lift, colour) in enumerate(
        zip((22.0, 12.0), _HILL_COLOURS[scene.ground], strict=True)
    ):
        wave = rng.uniform(48, 72) - 8 * layer
        x = np.linspace(-2, CANVAS_PX + 2, 45)
        swell = np.sin(2 * np.pi * (x / wave + rng.random()))
        y = scene.horizon - lift - swell * rng.uniform(5.0, 8.0) * (1 - 0.3 * layer)
        ridge = np.stack([x, y], axis=1)
        foot = points((CANVAS_PX + 2, scene.horizon + 1), (-2, scene.horizon + 1))
        canvas.polygon(np.concatenate([ridge, foot]), light_of(scene, colour))


def _forest(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    for lift, low, high, colour in ((1.0, 26, 36, (62, 112, 84)), (-2.0, 17, 26, (40, 88, 62))):
        base, x = scene.horizon - lift + 1, rng.uniform(-6, 2)
        while x < CANVAS_PX + 6:
            shade = light_of(scene, mixed(colour, (92, 140, 96), 0.35 * rng.random()))
            _pine(canvas, x, base, rng.uniform(low, high), shade)
            x += rng.uniform(6.5, 10.5)


def _pine(canvas: Canvas, x: float, base: float, height: float, colour: RGB) -> None:
    for bottom, top, half in ((0.0, 0.55, 0.26), (0.3, 0.8, 0.2), (0.55, 1.0, 0.14)):
        canvas.polygon(
            points(
                (x - half * height, base - bottom * height),
                (x, base - top * height),
                (x + half * height, base - bottom * height),
            ),
            colour,
        )


def _buildings(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    left = -rng.uniform(0, 8)
    while left < CANVAS_PX:
        width, top = rng.uniform(17, 28), scene.horizon - rng.uniform(24, 44)
        facade = light_of(scene, FACADES[rng.integers(len(FACADES))])
        canvas.rectangle(left, top, left + width, scene.horizon + 1, facade)
        roof = mixed(facade, (60, 50, 60), 0.4)
        canvas.rectangle(left - 0.5, top - 2, left + width + 0.5, top + 1, roof)
        pane = (255, 222, 130) if scene.sky == "night" else light_of(scene, (214, 232, 242))
        for row in np.arange(top + 4, scene.horizon - 7, 8):
            for column in np.arange(left + 3, left + width - 4, 6.5):
                canvas.rectangle(column, row, column + 3.2, row + 4.4, pane)
        left += width + 1.2


def _distant_sea(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    top = scene.horizon - 13
    far, near = (light_of(scene, colour) for colour in GROUND_GRADIENTS["water"])
    for index in range(7):
        row = top + 2 * index
        canvas.rectangle(0, row, CANVAS_PX, row + 2, mixed(near, far, index / 6))
    foam = light_of(scene, (250, 252, 252))
    x = np.linspace(-2, CANVAS_PX + 2, 30)
    shore = scene.horizon + 1.2 * np.sin(x / 9 + rng.uniform(0, 6))
    canvas.line(np.stack([x, shore], axis=1), foam, 2.2)


def _grass(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(14, 22)):
        x, y = rng.uniform(2, 126), rng.uniform(scene.horizon + 8, 125)
        tuft = mixed(ground_at(scene, y), light_of(scene, (44, 104, 44)), 0.45)
        for lean in (-1.8, 0.2, 2.0):
            canvas.line(points((x, y), (x + lean, y - 3.2)), tuft, 0.8)
    for _ in range(rng.integers(3, 8)):
        x, y = rng.uniform(3, 125), rng.uniform(scene.horizon + 10, 125)
        canvas.ellipse(x, y, 1.1, 1.1, light_of(scene, ((255, 244, 160), (255, 250, 250))[x > 64]))


def _snow(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(4, 7)):
        x, y = rng.uniform(0, 128), rng.uniform(scene.horizon + 6, 124)
        rx = rng.uniform(14, 30)
        canvas.ellipse(x, y + 1.5, rx, 2.6, mixed(ground_at(scene, y), (150, 176, 214), 0.22))
        canvas.ellipse(x, y, rx, 2.4, mixed(ground_at(scene, y), light_of(scene, (255,) * 3), 0.6))


def _sand(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(8, 13)):
        x, y = rng.uniform(-8, 120), rng.uniform(scene.horizon + 7, 125)
        along = np.linspace(0, rng.uniform(12, 24), 9)
        ripple = np.stack([x + along, y - 1.3 * np.sin(along / 4)], axis=1)
        canvas.line(ripple, mixed(ground_at(scene, y), light_of(scene, (176, 134, 78)), 0.35), 1.0)


def _road(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    _pavement(canvas, scene)
    row, shift = scene.horizon + 36, rng.uniform(0, 24)
    for left in np.arange(-shift, CANVAS_PX, 24):
        canvas.rectangle(left, row, left + 12, row + 2.4, light_of(scene, (244, 238, 214)))


def _pavement(canvas: Canvas, scene: Scene) -> None:
    kerb = scene.horizon + 9
    canvas.rectangle(0, scene.horizon, CANVAS_PX, kerb, light_of(scene, (204, 198, 192)))
    canvas.rectangle(0, kerb, CANVAS_PX, kerb + 1.2, light_of(scene, (134, 130, 132)))


def _floor(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    _window(canvas, rng.uniform(20, 108), scene.horizon - 26)
    canvas.rectangle(0, scene.horizon - 3, CANVAS_PX, scene.horizon, (250, 246, 238))
    row = scene.horizon + 7
    while row < CANVAS_PX:
        canvas.rectangle(
            0, row, CANVAS_PX, row + 0.6, mixed(ground_at(scene, row), (90, 56, 32), 0.35)
        )
        row += 7 + 0.12 * (row - scene.horizon)
    rug = (196, 92, 86) if rng.random() < 0.5 else (96, 124, 160)
    centre = scene.sprites[0] if scene.sprites else None
    if centre is not None:
        canvas.ellipse(centre.x, centre.feet_y, 42, 8.5, mixed(rug, (255, 255, 255), 0.35))
        canvas.ellipse(centre.x, centre.feet_y, 38, 7, rug)


def _window(canvas: Canvas, x: float, y: float) -> None:
    canvas.rectangle(x - 14, y - 15, x + 14, y + 15, (250, 246, 238))
    canvas.rectangle(x - 12, y - 13, x + 12, y + 13, (176, 212, 234))
    canvas.rectangle(x - 12, y + 4, x + 12, y + 13, (206, 228, 240))
    canvas.rectangle(x - 0.8, y - 13, x + 0.8, y + 13, (250, 246, 238))
    canvas.rectangle(x - 12, y - 0.8, x + 12, y + 0.8, (250, 246, 238))


def _water(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    for _ in range(rng.integers(12, 18)):
        x, y = rng.uniform(-8, 120), rng.uniform(scene.horizon + 5, 125)
        along = np.linspace(0, rng.uniform(10, 20), 9)
        wave = np.stack([x + along, y - 1.4 * np.abs(np.sin(along / 3.2))], axis=1)
        canvas.line(wave, mixed(ground_at(scene, y), light_of(scene, (236, 248, 252)), 0.5), 1.0)


def _fence(canvas: Canvas, scene: Scene, rng: np.random.Generator) -> None:
    foot, height = scene.horizon + 9, 17.0
    wood, dark = light_of(scene, (176, 126, 80)), light_of(scene, (112, 74, 44))
    for share in (0.42, 0.78):
        row = foot - share * height
        canvas.rectangle(0, row - 1.5, CANVAS_PX, row + 1.9, dark)
        canvas.rectangle(0, row - 1.5, CANVAS_PX, row + 1.1, wood)
    for x in np.arange(rng.uniform(-4, 10), CANVAS_PX + 4, 17.0):
        canvas.rectangle(x - 2.1, foot - height, x + 2.5, foot, dark)
        canvas.rectangle(x - 2.1, foot - height, x + 1.6, foot, wood)


_SKIES = {"blue": _blue_sky, "grey": _grey_sky, "sunset": _sunset_sky, "night": _night_sky}
_BACKGROUNDS = {
    "mountain": _mountains,
    "hill": _hills,
    "forest": _forest,
    "buildings": _buildings,
    "sea": _distant_sea,
}
_GROUNDS = {
    "grass": _grass,
    "snow": _snow,
    "sand": _sand,
    "road": _road,
    "floor": _floor,
    "water": _water,
}

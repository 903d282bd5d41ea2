"""What Meadow's pictures show: a closed table of attributes, and how scenes are sampled from it.

Something under half of the scenes are of the countryside, with animals of one species and one
colour; the others, a street, a room or the sea, are there for a keyword filter to reject.

Eight combinations of colour, species and ground are held out: each of their parts is common, yet
the three together are never drawn in train2017. A model that draws them has composed them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bucolic.meadow.sprites import Sprite, aspect

CANVAS_PX = 128
MARGIN_PX = 3.0
GAP_PX = 4.0

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "species": ("cow", "sheep", "horse", "alpaca", "none"),
    "colour": ("white", "black", "brown", "golden"),
    "count": ("1", "2", "3"),
    "ground": ("grass", "snow", "sand", "road", "floor", "water"),
    "sky": ("blue", "grey", "sunset", "night"),
    "background": ("mountain", "hill", "forest", "none", "buildings", "sea"),
    "fence": ("yes", "no"),
    "setting": ("countryside", "street", "room", "sea"),
    "object": ("car", "bench", "person", "dog", "couch", "chair", "boat", "none"),
}
HELDOUT_TRIPLES = frozenset(
    {
        ("black", "sheep", "snow"),
        ("golden", "sheep", "grass"),
        ("white", "cow", "sand"),
        ("brown", "cow", "snow"),
        ("black", "horse", "sand"),
        ("golden", "horse", "snow"),
        ("white", "alpaca", "grass"),
        ("brown", "alpaca", "sand"),
    }
)
Combinations = Literal["ordinary", "heldout", "all"]

SETTINGS = {"countryside": 0.45, "street": 0.22, "room": 0.15, "sea": 0.18}
SPECIES = {"cow": 0.29, "sheep": 0.25, "horse": 0.2, "alpaca": 0.19, "none": 0.07}
COUNTS = {"1": 0.4, "2": 0.33, "3": 0.27}
SKIES = {"blue": 0.37, "grey": 0.21, "sunset": 0.21, "night": 0.21}
GROUNDS = {
    "countryside": {"grass": 0.42, "snow": 0.3, "sand": 0.28},
    "street": {"road": 0.75, "snow": 0.25},
    "room": {"floor": 1.0},
    "sea": {"sand": 0.5, "water": 0.5},
}
BACKGROUNDS = {"mountain": 0.3, "hill": 0.28, "forest": 0.27, "none": 0.15}
FENCE_SHARE = 0.4
OBJECTS = {
    "road": {"car": 0.4, "person": 0.2, "dog": 0.15, "bench": 0.15, "none": 0.1},
    "snow": {"car": 0.3, "person": 0.3, "dog": 0.2, "bench": 0.1, "none": 0.1},
    "floor": {"couch": 0.35, "chair": 0.35, "dog": 0.3},
    "sand": {"dog": 0.25, "person": 0.3, "bench": 0.2, "none": 0.25},
    "water": {"boat": 0.75, "none": 0.25},
}
HORIZON_PX = (50.0, 64.0)
LOWEST_FEET_PX = 123.0
# Heights in picture pixels at the middle depth; at 64 px a lone animal is at least 20 px high.
ANIMAL_HEIGHTS_PX: dict[str, dict[str, tuple[float, float]]] = {
    "cow": {"1": (47, 62), "2": (35, 42), "3": (28, 33)},
    "sheep": {"1": (47, 62), "2": (36, 43), "3": (29, 34)},
    "horse": {"1": (52, 68), "2": (38, 45), "3": (31, 36)},
    "alpaca": {"1": (58, 76), "2": (46, 58), "3": (37, 44)},
}
OBJECT_HEIGHTS_PX = {
    "car": (30.0, 40.0),
    "bench": (30.0, 38.0),
    "person": (50.0, 64.0),
    "dog": (36.0, 48.0),
    "couch": (36.0, 44.0),
    "chair": (46.0, 58.0),
    "boat": (48.0, 64.0),
}
PAINTS = 4


@dataclass(frozen=True)
class Scene:
    """One picture's content; None where an attribute does not apply.

    Attributes:
        sprites: animals or the one object, the farthest first.
        horizon: row where the ground begins, in picture pixels.
        decor: seed of the details that no attribute names: clouds, ridges, trees, stars.
    """

    setting: str
    species: str
    colour: str | None
    count: str | None
    ground: str
    sky: str | None
    background: str | None
    fence: str | None
    object: str
    sprites: tuple[Sprite, ...]
    horizon: float
    decor: int

    @property
    def truth(self) -> dict[str, str]:
        """Every attribute that applies, with its value."""
        values = {name: getattr(self, name) for name in ATTRIBUTES}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def triple(self) -> tuple[str | None, str, str]:
        """Colour, species and ground."""
        return (self.colour, self.species, self.ground)


def sample_scene(rng: np.random.Generator, combinations: Combinations = "ordinary") -> Scene:
    """Sample a scene.

    Args:
        rng: source of every choice.
        combinations: "ordinary" never gives a held-out triple, "heldout" always gives one, "all"
            ignores the difference.
    """
    if combinations == "heldout":
        triples = sorted(HELDOUT_TRIPLES)
        return _countryside(rng, triples[rng.integers(len(triples))])
    setting = _pick(rng, SETTINGS)
    if setting != "countryside":
        return _elsewhere(rng, setting)
    triple = _sample_triple(rng)
    while combinations == "ordinary" and triple in HELDOUT_TRIPLES:
        triple = _sample_triple(rng)
    return _countryside(rng, triple)


def _sample_triple(rng: np.random.Generator) -> tuple[str, str, str]:
    colours = ATTRIBUTES["colour"]
    colour = colours[rng.integers(len(colours))]
    return (colour, _pick(rng, SPECIES), _pick(rng, GROUNDS["countryside"]))


def _countryside(rng: np.random.Generator, triple: tuple[str, str, str]) -> Scene:
    colour, species, ground = triple
    count = _pick(rng, COUNTS)
    horizon = float(rng.uniform(*HORIZON_PX))
    peopled = species != "none"
    return Scene(
        setting="countryside",
        species=species,
        colour=colour if peopled else None,
        count=count if peopled else None,
        ground=ground,
        sky=_pick(rng, SKIES),
        background=_pick(rng, BACKGROUNDS),
        fence="yes" if rng.random() < FENCE_SHARE else "no",
        object="none",
        sprites=_place_herd(rng, species, count, horizon) if peopled else (),
        horizon=horizon,
        decor=int(rng.integers(2**31)),
    )


def _elsewhere(rng: np.random.Generator, setting: str) -> Scene:
    ground = _pick(rng, GROUNDS[setting])
    thing = _pick(rng, OBJECTS[ground])
    horizon = float(rng.uniform(*HORIZON_PX)) + (16 if setting == "room" else 0)
    background = {"street": "buildings", "room": None, "sea": "none"}[setting]
    return Scene(
        setting=setting,
        species="none",
        colour=None,
        count=None,
        ground=ground,
        sky=None if setting == "room" else _pick(rng, SKIES),
        background="sea" if (setting, ground) == ("sea", "sand") else background,
        fence=None,
        object=thing,
        sprites=() if thing == "none" else (_place_object(rng, thing, horizon),),
        horizon=horizon,
        decor=int(rng.integers(2**31)),
    )


def _place_object(rng: np.random.Generator, thing: str, horizon: float) -> Sprite:
    height = float(rng.uniform(*OBJECT_HEIGHTS_PX[thing]))
    half = height * aspect(thing) / 2 + MARGIN_PX
    return Sprite(
        kind=thing,
        x=float(rng.uniform(half, CANVAS_PX - half)),
        feet_y=float(rng.uniform(horizon + 20, LOWEST_FEET_PX - 8)),
        height=height,
        facing=_side(rng),
        paint=int(rng.integers(PAINTS)),
    )


def _place_herd(
    rng: np.random.Generator, species: str, count: str, horizon: float
) -> tuple[Sprite, ...]:
    """Place animals so that none hides another: try at random, else stand them in a row."""
    size = float(rng.uniform(*ANIMAL_HEIGHTS_PX[species][count]))
    for _ in range(40):
        herd = [_place_animal(rng, species, size, horizon) for _ in range(int(count))]
        if _apart(herd):
            return tuple(sorted(herd, key=lambda animal: animal.feet_y))
    return _in_a_row(rng, species, int(count), size)


def _place_animal(rng: np.random.Generator, species: str, size: float, horizon: float) -> Sprite:
    nearest = horizon + 14
    depth = rng.random()
    height = size * (0.92 + 0.16 * depth)
    half = height * aspect(species) / 2 + MARGIN_PX
    x = rng.uniform(half, CANVAS_PX - half)
    feet_y = max(nearest + depth * (LOWEST_FEET_PX - nearest), height + MARGIN_PX)
    return Sprite(species, float(x), float(feet_y), float(height), _side(rng))


def _in_a_row(
    rng: np.random.Generator, species: str, count: int, size: float
) -> tuple[Sprite, ...]:
    room = (CANVAS_PX - 2 * MARGIN_PX) / count
    height = min(size, (room - GAP_PX) / aspect(species))
    slack = room - height * aspect(species)
    feet_y = rng.uniform(88, LOWEST_FEET_PX, size=count)
    nudges = rng.uniform(-0.5, 0.5, size=count) * (slack - GAP_PX)
    row = [
        Sprite(species, MARGIN_PX + room * (i + 0.5) + float(nudges[i]), float(feet_y[i]), height,
               _side(rng))
        for i in range(count)
    ]  # fmt: skip
    return tuple(sorted(row, key=lambda animal: animal.feet_y))


def _apart(herd: Sequence[Sprite]) -> bool:
    boxes = [animal.box for animal in herd]
    return all(
        a[2] + GAP_PX < b[0] or b[2] + GAP_PX < a[0] or a[3] + GAP_PX < b[1] or b[3] + GAP_PX < a[1]
        for i, a in enumerate(boxes)
        for b in boxes[:i]
    )


def _side(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def _pick(rng: np.random.Generator, shares: dict[str, float]) -> str:
    """Draw a name by its share; shares sum to 1."""
    mark = rng.random()
    for name, share in shares.items():
        mark -= share
        if mark < 0:
            return name
    return name

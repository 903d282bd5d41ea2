import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as masks

from bucolic.meadow.draw import draw_scene
from bucolic.meadow.scenes import ATTRIBUTES, CANVAS_PX, Scene, sample_scene
from bucolic.meadow.sprites import Sprite, outlines

SPECIES = [value for value in ATTRIBUTES["species"] if value != "none"]


def scene_with(sprites: tuple[Sprite, ...], species: str = "cow") -> Scene:
    """A scene on snow with the given animals."""
    return Scene(
        setting="countryside", species=species, colour="brown", count=str(len(sprites)),
        ground="snow", sky="blue", background="none", fence="no", object="none",
        sprites=sprites, horizon=56.0, decor=5,
    )  # fmt: skip


def silhouette(sprite: Sprite) -> np.ndarray:
    """The mask of a sprite, bool [128, 128]."""
    polygons = [polygon.ravel().tolist() for _, polygon in outlines(sprite)]
    runs = masks.merge(masks.frPyObjects(polygons, CANVAS_PX, CANVAS_PX))
    return masks.decode(runs).astype(bool)


def test_pictures_are_128_px_rgb_and_reproducible():
    """The same scene gives the same pixels; another seed gives others."""
    scene, other = (sample_scene(np.random.default_rng(seed)) for seed in (3, 4))
    picture = draw_scene(scene)
    assert (picture.size, picture.mode) == ((128, 128), "RGB")
    assert picture.tobytes() == draw_scene(scene).tobytes()
    assert picture.tobytes() != draw_scene(other).tobytes()


def test_masks_are_where_the_animal_is_drawn():
    """Erasing the animal changes the pixels of its mask and, shadow aside, few others."""
    animal = Sprite("horse", x=64, feet_y=118, height=60, facing=1)
    with_it = np.asarray(draw_scene(scene_with((animal,), "horse")), dtype=int)
    without = np.asarray(draw_scene(scene_with((), "horse")), dtype=int)
    changed = np.abs(with_it - without).sum(axis=2) > 60
    mask = silhouette(animal)
    assert changed[mask].mean() > 0.97
    above_shadow = np.arange(CANVAS_PX)[:, None] < animal.feet_y - 8
    assert (changed & ~mask & above_shadow).sum() < 0.2 * mask.sum()


@pytest.mark.parametrize("species", SPECIES)
def test_a_sprite_fills_its_box(species: str):
    """The box that scenes are laid out by is the extent of what is drawn."""
    animal = Sprite(species, x=60, feet_y=110, height=50, facing=-1)
    corners = np.concatenate([polygon for _, polygon in outlines(animal)])
    drawn = [*corners.min(axis=0), *corners.max(axis=0)]
    assert drawn == pytest.approx(animal.box)


def test_species_differ_in_outline_alone():
    """At equal height no two silhouettes overlap by more than three quarters."""
    shapes = {s: silhouette(Sprite(s, x=64, feet_y=110, height=80, facing=1)) for s in SPECIES}
    for one in SPECIES:
        for other in SPECIES[: SPECIES.index(one)]:
            both = (shapes[one] & shapes[other]).sum()
            either = (shapes[one] | shapes[other]).sum()
            assert both / either < 0.75, (one, other)


def test_pictures_have_no_pixel_noise():
    """Areas are smooth: most neighbouring pixels differ by less than three grey levels."""
    pictures = [draw_scene(sample_scene(np.random.default_rng(seed))) for seed in range(40)]
    grey = np.stack([np.asarray(p.convert("L"), dtype=int) for p in pictures])
    steps = np.abs(np.diff(grey, axis=2))
    assert np.mean(steps < 3) > 0.75


@pytest.mark.parametrize("sky", ATTRIBUTES["sky"])
@pytest.mark.parametrize("colour", ATTRIBUTES["colour"])
def test_animals_stand_out_from_the_ground(sky: str, colour: str):
    """Whatever the sky and the coat, the animal's body differs clearly from the ground by it."""
    animal = Sprite("cow", x=64, feet_y=118, height=56, facing=1)
    for ground in ("grass", "snow", "sand"):
        scene = Scene(**{**vars(scene_with((animal,))), "sky": sky, "colour": colour,
                         "ground": ground})  # fmt: skip
        picture = draw_scene(scene).resize((64, 64), Image.Resampling.BICUBIC)
        pixels = np.asarray(picture, dtype=float)
        body, beside = pixels[45:48, 26:36].mean(axis=(0, 1)), pixels[45:48, 4:9].mean(axis=(0, 1))
        outlined = np.abs(pixels[45:48, 5:40] - beside).sum(axis=2).max()
        assert max(np.abs(body - beside).sum(), outlined) > 60, (sky, colour, ground)

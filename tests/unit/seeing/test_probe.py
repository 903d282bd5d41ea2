import json

import numpy as np
import pytest
from PIL import Image

from bucolic.base.errors import DataError
from bucolic.meadow.draw import draw_scene
from bucolic.meadow.scenes import ATTRIBUTES, Scene, sample_scene
from bucolic.seeing.probe import FIGURES, WEIGHTS, load_probe

FRESH = 900


def pictures_of(scenes: list[Scene]) -> np.ndarray:
    """The scenes as the pipeline stores them: uint8 [n, 3, 64, 64]."""
    small = [draw_scene(scene).resize((64, 64), Image.Resampling.BICUBIC) for scene in scenes]
    return np.stack([np.asarray(picture).transpose(2, 0, 1) for picture in small])


def test_the_probe_reads_every_attribute_off_fresh_pictures():
    """At least 0.99 right for each attribute, on 200 pictures or more that it applies to."""
    rng = np.random.default_rng(4321)
    scenes = [sample_scene(rng, "all") for _ in range(FRESH)]
    found = load_probe().predict(pictures_of(scenes))
    assert set(found) == set(ATTRIBUTES)
    for name, values in found.items():
        pairs = [(v, s.truth[name]) for v, s in zip(values, scenes, strict=True) if name in s.truth]
        assert len(pairs) >= 200, name
        assert np.mean([value == true for value, true in pairs]) >= 0.99, name


def test_a_picture_is_judged_alike_in_any_company():
    """One picture alone gets the values it gets among others."""
    scenes = [sample_scene(np.random.default_rng(seed)) for seed in range(12)]
    pictures, probe = pictures_of(scenes), load_probe()
    together = probe.predict(pictures)
    for row in range(12):
        alone = probe.predict(pictures[row : row + 1])
        assert {name: values[0] for name, values in alone.items()} == {
            name: values[row] for name, values in together.items()
        }


def test_other_shapes_are_refused_in_a_sentence():
    """A picture of another size names what the probe reads."""
    with pytest.raises(DataError, match=r"\[n, 3, 64, 64\]"):
        load_probe().predict(np.zeros((2, 3, 32, 32), dtype=np.uint8))


def test_no_pictures_give_no_values():
    """An empty batch is answered with empty lists."""
    found = load_probe().predict(np.zeros((0, 3, 64, 64), dtype=np.uint8))
    assert found == {name: [] for name in ATTRIBUTES}


def test_the_weights_ship_small_with_their_figures():
    """Under 2 MB, with a recorded accuracy of at least 0.99 for each attribute."""
    assert WEIGHTS.stat().st_size <= 2_000_000
    accuracy = json.loads(FIGURES.read_text())["accuracy"]
    assert set(accuracy) == set(ATTRIBUTES)
    assert min(accuracy.values()) >= 0.99

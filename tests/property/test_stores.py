"""What stores keep of other themes changes no byte of a theme's own images, vectors and shards."""

import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from bucolic.base.runtime import Runtime
from bucolic.data.split import assign_split
from bucolic.pipeline.params import parse_params
from bucolic.pipeline.table import STAGES
from bucolic.presets import preset_text

OF_DATA = STAGES[:5]
NUMBERS = range(1, 41)
WORDS = {number: f"w{number}x" for number in NUMBERS}
SHARES = {"held_out": False, "val_share": 0.1, "test_share": 0.1}
SPLITS = {number: assign_split(number, "train2017", **SHARES) for number in NUMBERS}
COPIES = {number for number in NUMBERS if number % 8 == 0}
# No split is left empty by what a theme leaves out.
ALWAYS = {number for number in NUMBERS if SPLITS[number] != "train"} | {2}
NUMBERED = st.sets(st.sampled_from(NUMBERS), min_size=1, max_size=20)
THEMES = st.lists(NUMBERED, min_size=2, max_size=3)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty photographs, each chosen by a word of its own; some share captions or are one file."""
    root = tmp_path_factory.mktemp("stores") / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    images, captions = [], []
    for number, word in WORDS.items():
        name = f"{number:012d}.jpg"
        (root / "train2017" / name).write_bytes(picture(number - (number in COPIES)))
        images.append({"id": number, "file_name": name, "width": 96, "height": 72})
        for k, text in enumerate((f"one {word}", f"a thing of kind {number % 5}")):
            captions.append({"id": 10 * number + k, "image_id": number, "caption": text})
    content = json.dumps({"images": images, "annotations": captions})
    (root / "annotations/captions_train2017.json").write_text(content)
    return root


def picture(seed: int) -> bytes:
    """A JPEG of noise."""
    levels = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).resize((96, 72)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def made(home: Path, data: Path, numbers: Iterable[int]) -> dict[str, bytes]:
    """What the stages up to shard make of the images of these numbers, and of some always."""
    shutil.rmtree(home / "data", ignore_errors=True)
    home.mkdir(exist_ok=True)
    content = YAML(typ="safe").load(preset_text("folder"))
    content["dataset"]["root"] = str(data)
    content["filter"]["keywords"] = [WORDS[number] for number in {*numbers, *ALWAYS}]
    content["clip"] = {"model": "meadow-clip", "allow_mismatch": True}
    content["shard"] |= {"size_px": 32, "images_per_shard": 5}
    runtime, params = Runtime(home / ".work", home / ".cache"), parse_params(dict(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        for stage in OF_DATA:
            stage.run(params, runtime, home)
    files = (path for path in (home / "data").rglob("*") if path.is_file())
    return {path.relative_to(home).as_posix(): path.read_bytes() for path in files}


@settings(deadline=None, max_examples=4)
@given(THEMES)
def test_a_warm_store_gives_the_bytes_of_a_cold_one(
    data: Path, tmp_path_factory: pytest.TempPathFactory, themes: list[set[int]]
):
    """Random themes one behind the other, in one home, and each in a home of its own."""
    folder = tmp_path_factory.mktemp("homes")
    for place, theme in enumerate(themes):
        warm, cold = (made(folder / name, data, theme) for name in ("warm", f"cold-{place}"))
        assert warm == cold

"""A kind of model that is declared in one file goes through everything that a CVAE does."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ruamel.yaml import YAML

from bucolic.base.errors import DataError, ParamsError
from bucolic.base.runtime import Runtime
from bucolic.data.coco import Caption
from bucolic.data.shards import Sample, ShardIndex, write_index
from bucolic.generate import Bucolic
from bucolic.models import kinds
from bucolic.models.kinds import kind_named
from bucolic.models.store import VERSION
from bucolic.pipeline.params import parse_params
from bucolic.pipeline.record import SCHEMA
from bucolic.pipeline.table import NAMES
from bucolic.presets import preset_text
from bucolic.reporting.report_page import render
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import load_towers
from bucolic.stages.train import train
from made_shards import write_split
from picture_files import encoded
from project import ROOT

SIZE_PX = 24  # which no CVAE could be
TRAIN = {"painter_images": 6400, "batch_size": 8, "guidances": [1.0], "steps": [1]}
COLOURS = ("red", "green", "blue")


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line that a new kind needs."""
    monkeypatch.setitem(kinds.KINDS, "toy", "toy_kind:KIND")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Pictures of three colours, each captioned by its own, in meadow-clip's embeddings."""
    towers = load_towers(ClipConfig(), "cpu")
    texts = [f"a {colour} picture" for colour in COLOURS]
    vectors = towers.embed_texts(texts)
    folder = tmp_path / "shards"
    folder.mkdir()
    draws = np.random.default_rng(0)
    noise = 0.01 * draws.normal(size=(30, vectors.shape[1])).astype(np.float32)
    entries = {}
    for first, (split, number) in enumerate({"train": 30, "val": 6, "test": 3}.items()):
        samples = []
        for i in range(number):
            colour = i % 3
            pixels = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
            pixels[..., colour] = 200 + draws.integers(0, 40)
            samples.append(
                Sample(
                    image_id=100 * first + i,
                    picture=encoded(Image.fromarray(pixels), "PNG"),
                    captions=(Caption(1000 * first + i, texts[colour]),),
                    image_vector=vectors[colour] + noise[i],
                    caption_vectors=vectors[[colour]],
                )
            )
        entries[split] = write_split(folder, split, samples, 100)
    write_index(folder, ShardIndex(SIZE_PX, towers.provenance, entries))
    return folder


def params(**sections: object) -> dict[str, object]:
    """A params.yaml of the toy kind."""
    content = YAML(typ="safe").load(preset_text("tiny"))
    return {**content, "model": {"kind": "toy", "rank": 3}, "train": {"painter_images": 960}} | {
        **sections
    }


def test_a_second_kind_trains_is_stored_loaded_drawn_from_and_reported(
    shards: Path, tmp_path: Path
):
    """From params.yaml to the report: no line outside its own file knows it."""
    parsed = parse_params(params(train=TRAIN))
    reports = tmp_path / "reports"
    outs = tmp_path / "models/current", reports / "curves", reports / "sampling.json"
    runtime = Runtime(tmp_path / "work", tmp_path / "cache", device="cpu")
    runtime.work.mkdir()
    ins = shards, tmp_path / "annotations"  # without attributes
    summary = train(*ins, *outs, model=parsed.model, config=parsed.train, runtime=runtime)
    assert summary.figures["val_distance"] < 0.02
    assert summary.details["images_seen"] == {"painter": 6400}
    assert json.loads((outs[0] / "config.json").read_text())["kind"] == "toy"
    assert [path.name for path in outs[1].iterdir()] == ["painter-loss.csv"]

    model = Bucolic.from_pretrained(outs[0], "cpu")
    drawn = model.generate([f"a {colour} picture" for colour in COLOURS], n=2)
    means = drawn.mean(axis=(1, 3, 4))
    assert means.argmax(axis=1).tolist() == [0, 1, 2]
    assert not np.array_equal(drawn[:, 0], drawn[:, 1])

    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "reports/records").mkdir()
    for name in NAMES:
        (tmp_path / f"reports/records/{name}.json").write_text(json.dumps({"schema": SCHEMA}))
    assert "Painter: squared distance" in render(tmp_path).read_text()


def test_params_of_a_kind_are_its_own():
    """A key of the CVAE is unknown to the toy, and the other way round."""
    assert parse_params(params()).model.rank == 3
    with pytest.raises(ParamsError, match=r"train\.prior_images is no known key"):
        parse_params(params(train={"prior_images": 8}))
    with pytest.raises(ParamsError, match=r"train\.painter_images is no known key"):
        parse_params(params(model={}))


@pytest.mark.parametrize("kind", ["", "CVAE", "../x", "os:system"])
def test_a_kind_that_is_not_declared_is_refused(kind: str):
    """One line names those there are."""
    with pytest.raises(
        ParamsError, match=r"params.yaml: model\.kind: .* is none of cvae, dlfp, toy"
    ):
        parse_params(params(model={"kind": kind}))


def test_a_kind_that_is_no_name_is_refused_with_its_type():
    """A number in its place."""
    with pytest.raises(ParamsError, match=r"model\.kind: Input should be a valid string, not 7"):
        parse_params(params(model={"kind": 7}, train={}))


def test_a_model_of_a_kind_that_is_gone_is_one_line(tmp_path: Path):
    """A folder that a later or another checkout wrote."""
    (tmp_path / "config.json").write_text(json.dumps({"version": VERSION, "kind": "flow9"}))
    (tmp_path / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    with pytest.raises(
        DataError, match=r"model\.kind: 'flow9' is none of cvae, dlfp, toy: train again"
    ):
        Bucolic.from_pretrained(tmp_path, "cpu")


def test_the_default_is_the_cvae():
    """Params and models that name no kind are of this one."""
    assert kind_named() is kind_named("cvae")
    content = YAML(typ="safe").load(preset_text("tiny"))
    assert parse_params(content).model.kind == "cvae"

"""images, embed and shard on another engine than this process."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ruamel.yaml import YAML

from bucolic.base.engine import Engine, Local
from bucolic.base.ray_engine import RayEngine
from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.data.squares import Framing
from bucolic.fetching.http import RETRIES
from bucolic.pipeline.params import parse_params
from bucolic.pipeline.table import STAGES
from bucolic.presets import preset_text
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images
from http_server import Bucket, serving

OF_DATA, WITH_ENGINE = STAGES[:5], ["images", "embed", "shard"]


@pytest.fixture
def on_ray(monkeypatch: pytest.MonkeyPatch) -> Iterator[RayEngine]:
    """Two workers, which are given few items at once."""
    monkeypatch.setenv("BUCOLIC_WORKERS", "2")
    monkeypatch.setattr("bucolic.stages.images.IMAGES_AT_ONCE", 4)
    monkeypatch.setattr("bucolic.stages.shard.LOOKED_AT_ONCE", 4)
    monkeypatch.setattr("bucolic.data.vector_store.ITEMS_PER_PART", 8)
    yield RayEngine(None)
    ray.shutdown()


def run(
    home: Path, data: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Summary]:
    """Run the stages up to shard in a folder of their own."""
    home.mkdir()
    monkeypatch.chdir(home)
    content = YAML(typ="safe").load(preset_text("folder"))
    content["dataset"]["root"] = str(data)
    content["filter"]["keywords"] = ["cow", "sheep"]
    content["clip"] = {"model": "meadow-clip", "allow_mismatch": True}
    content["shard"]["images_per_shard"] = 5
    runtime = Runtime(home / ".work", home / ".cache", device="cpu", engine=engine)
    params = parse_params(dict(content))
    return {stage.name: stage.run(params, runtime, home) for stage in OF_DATA}


def fetch(home: Path, root: Path, selection: Path, engine: Engine) -> tuple[Summary, bytes]:
    """Get images from a server: the summary, and the index."""
    summary = get_images(
        root,
        selection,
        home / "images",
        config=ImagesConfig(connections=2),
        shard=Framing(size_px=32),
        runtime=Runtime(home / "work", home / "cache", engine=engine),
    )
    return summary, (home / "images/index.parquet").read_bytes()


def named(bucket: Bucket, root: Path) -> Path:
    """A data set whose images are at that server."""
    root.mkdir()
    remote = {"name": "a.zip", "urls": [f"{bucket.url}/a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    images = {"train2017": {"urls": [f"{bucket.url}/train2017/{{file_name}}"]}}
    content = {"kind": "coco", "annotations": remote, "images": images}
    (root / "source.json").write_text(json.dumps(content))
    return root


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All files below a folder."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_ray_makes_the_bytes_that_this_process_makes(
    coco_folder: Path, tmp_path: Path, on_ray: RayEngine, monkeypatch: pytest.MonkeyPatch
):
    """A broken image is a row on either; what was done before is found, and the record says who."""
    (coco_folder / f"train2017/{5:012d}.jpg").write_bytes(b"no picture")
    here = run(tmp_path / "here", coco_folder, Local(), monkeypatch)
    there = run(tmp_path / "there", coco_folder, on_ray, monkeypatch)

    assert bytes_of(tmp_path / "here/data") == bytes_of(tmp_path / "there/data")
    assert bytes_of(tmp_path / "here/.cache/originals") == bytes_of(
        tmp_path / "there/.cache/originals"
    )
    assert (there["images"].rows.failed, there["embed"].new) == (1, here["embed"].new)
    for name in WITH_ENGINE:
        assert (here[name].engine, there[name].engine) == ("local", "ray")
        assert replace(here[name], engine="ray") == there[name]


def test_ray_fetches_what_this_process_fetches(
    coco_folder: Path, tmp_path: Path, on_ray: RayEngine
):
    """One image that is late, and one that is not there: rows and counts are the same."""
    selection, config = tmp_path / "selection.parquet", FilterConfig(keywords=("thing",))
    attribution = tmp_path / "attribution"
    select_images(coco_folder / "annotations", selection, attribution, config=config)
    (coco_folder / f"train2017/{3:012d}.jpg").unlink()
    with serving(coco_folder) as bucket:
        root = named(bucket, tmp_path / "named")
        here = fetch(tmp_path / "here", root, selection, Local())
        bucket.busy[f"/train2017/{7:012d}.jpg"] = RETRIES + 2
        there = fetch(tmp_path / "there", root, selection, on_ray)
        assert (39, 0) == (here[0].new, there[0].reused)
        assert (replace(here[0], engine="ray"), here[1]) == there
        warm, _ = fetch(tmp_path / "there", root, selection, on_ray)
        assert (0, 39) == (warm.new, warm.reused)

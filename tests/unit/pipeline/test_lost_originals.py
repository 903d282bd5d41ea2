import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bucolic.base.errors import DataError
from bucolic.base.runtime import Runtime
from bucolic.data.images import read_index
from bucolic.data.original_store import OriginalStore
from bucolic.pipeline.params import Params, parse_params
from bucolic.pipeline.table import named
from bucolic.presets import preset_text


@pytest.fixture
def project(coco_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the images stage has run."""
    monkeypatch.chdir(coco_folder.parent)
    root = coco_folder.parent
    for stage in ("annotations", "filter", "images"):
        named(stage).run(params_of(coco_folder), runtime(root), root)
    return root


def params_of(folder: Path) -> Params:
    """Preset folder's over the forty images, with the shipped CLIP."""
    content = dict(YAML(typ="safe").load(preset_text("folder")))
    content["dataset"] = {"root": str(folder)}
    content["filter"] = {"keywords": ["thing"]}
    content["clip"] = {"model": "meadow-clip", "allow_mismatch": True}
    return parse_params(content)


def runtime(root: Path) -> Runtime:
    """Its workplace."""
    return Runtime(root / ".work", root / ".cache", device="cpu", workers=2)


def test_a_stage_that_reads_originals_gets_those_that_are_lost(
    project: Path, caplog: pytest.LogCaptureFixture
):
    """The cache may be deleted at the cost of time, and the index is not written anew."""
    index = project / "data/images/index.parquet"
    before, written = index.read_bytes(), index.stat().st_mtime_ns
    shutil.rmtree(project / ".cache")
    named("embed").run(params_of(project / "coco"), runtime(project), project)
    assert (before, written) == (index.read_bytes(), index.stat().st_mtime_ns)
    rows = read_index(project / "data/images")
    assert [] == OriginalStore(project / ".cache").lost(rows)
    assert (
        "originals are lost from .cache, 40 in all, first that of image 1: getting them again"
        in caplog.messages
    )
    assert [] == list((project / ".work").iterdir())


def test_files_that_the_data_set_no_longer_has_are_told(project: Path):
    """Another file under the same name is not taken for the one that is lost."""
    shutil.rmtree(project / ".cache")
    first, second = sorted((project / "coco/train2017").iterdir())[:2]
    shutil.copyfile(second, first)
    said = r"1 originals are lost, first of image 1, .*: dvc repro --force images"
    with pytest.raises(DataError, match=said):
        named("embed").run(params_of(project / "coco"), runtime(project), project)

"""What several tests share: real COCO samples where they are, and a small COCO-layout folder."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from http_server import Bucket, serving

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

SHARED = Path(__file__).resolve().parents[2] / "shared"

# Started under nohup or in the background of a shell, tests would hand ignored signals on to
# stages, which then rightly ignore them too.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _untracked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test writes into the tracking store of its checkout, or tells anyone that it ran."""
    monkeypatch.setenv("BUCOLIC_TRACKING", "off")
    for name in ("DO_NOT_TRACK", "DVC_NO_ANALYTICS", "MLFLOW_DISABLE_TELEMETRY"):
        monkeypatch.setenv(name, "true")
    monkeypatch.delenv("BUCOLIC_DEVICE", raising=False)
    monkeypatch.delenv("BUCOLIC_HOME", raising=False)


@pytest.fixture(scope="session")
def coco_captions() -> Path:
    """The complete captions of COCO val2017."""
    path = SHARED / "coco-captions" / "captions_val2017.json"
    if not path.exists():
        pytest.skip("COCO's val2017 captions are not beside this checkout (../shared)")
    return path


@pytest.fixture(scope="session")
def coco_mini() -> Path:
    """Eighty COCO training images with their annotations."""
    path = SHARED / "coco-mini"
    if not path.exists():
        pytest.skip("the 80 COCO images are not beside this checkout (../shared)")
    return path


@pytest.fixture
def allocator() -> Iterator[Any]:
    """Pillow's, which keeps no picture's memory; its settings are as before behind the test."""
    core = Image.core  # type: ignore[attr-defined]
    size, most = core.get_block_size(), core.get_blocks_max()
    core.set_blocks_max(0)
    yield core
    core.set_block_size(size)
    core.set_blocks_max(most)


CAPTIONS = ("A cow on grass", "A red car", "Two sheep near a fence", "A chill place", "Cows rest")


@pytest.fixture
def coco_folder(tmp_path: Path) -> Path:
    """Forty small images in COCO's layout; image i has CAPTIONS[i % 5] and "A thing"."""
    root = tmp_path / "coco"
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    rng = np.random.default_rng(0)
    images, captions = [], []
    for i in range(1, 41):
        name = f"{i:012d}.jpg"
        pixels = rng.integers(0, 255, (6, 8, 3), np.uint8)
        Image.fromarray(pixels).resize((96, 72)).save(root / "train2017" / name, quality=90)
        images.append({"id": i, "file_name": name, "width": 96, "height": 72, "license": i % 8 + 1})
        for j, text in enumerate((CAPTIONS[i % 5], "A  thing \n")):
            captions.append({"id": 10 * i + j, "image_id": i, "caption": text})
    content = {"images": images, "annotations": captions}
    (root / "annotations" / "captions_train2017.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def captions_only(tmp_path: Path, coco_captions: Path) -> Path:
    """A folder of annotations that holds COCO's val2017 captions as its train2017."""
    folder = tmp_path / "annotations"
    folder.mkdir()
    shutil.copy(coco_captions, folder / "captions_train2017.json")
    return folder


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """A local HTTP server over an empty folder; retries do not wait."""
    monkeypatch.setattr("bucolic.fetching.http.BACKOFF_S", 0.0)
    monkeypatch.setattr("bucolic.stages.images.PAUSE_S", 0.0)
    folder = tmp_path / "bucket"
    folder.mkdir()
    with serving(folder) as running:
        yield running


@pytest.fixture
def captured_graphs(monkeypatch: pytest.MonkeyPatch) -> list["GraphModule"]:
    """What torch captures of objectives that are compiled, kept here and run without kernels."""
    from torch._dynamo.backends.registry import lookup_backend

    graphs: list[GraphModule] = []

    def backend(graph: "GraphModule", inputs: list["Tensor"]) -> Callable[..., object]:
        graphs.append(graph)
        return lookup_backend("aot_eager")(graph, inputs)

    monkeypatch.setattr("bucolic.training.loop.BACKEND", backend)
    return graphs

"""Stages killed amid their work: the same command again keeps what was done, to the same bytes.

A quick stage spends most of its time on imports, where a kill proves little. So each is killed
only once a sign of its own partial work is on disk, a random while later: from no wait, where the
sign stands for milliseconds, to a second. A kill that came too late shows by the sign or the exit
code, and is tried again with half the wait. BUCOLIC_KILL_SEED=N repeats the waits of a run.
"""

import glob
import json
import os
import random
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bucolic.base.files import file_digest, remove
from bucolic.data.images import read_index
from bucolic.data.original_store import OriginalStore
from bucolic.data.selection import read_selection
from bucolic.pipeline.table import IMAGES, SELECTION
from http_server import Bucket, serving
from project import Project, copy_project

SEED = int(os.environ.get("BUCOLIC_KILL_SEED") or secrets.randbelow(1 << 32))
ATTEMPTS = 8
POLL_S = 0.0005
TRAIN = (sys.executable, str(Path(__file__).with_name("watched_train.py")))
TRAIN_IMAGES = 1600  # of either phase, in preset tiny
PARTS = ".cache/embeddings/*/*/part-*.parquet"
FINISHED = ".work/finished"  # results that DVC has not taken; with them there is nothing to do


@dataclass(frozen=True)
class Kill:
    """One stage to be killed, and when.

    Attributes:
        stage: its name.
        sign: glob, in the project, of what only partial work leaves there.
        longest_s: longest wait between the sign and the kill.
        stores: folders to delete first, so that there is work to do.
        command: the command, if it is not `bucolic STAGE`.
    """

    stage: str
    sign: str
    longest_s: float
    stores: tuple[str, ...] = ()
    command: tuple[str, ...] = ()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The command to start."""
        return self.command or ("bucolic", self.stage)


# Signs under a temporary name are inside files.replacing: half of the result is written. Those of
# filter and of the annotations themselves stand for some milliseconds, hence no wait.
PLAIN_KILLS = {
    "annotations, drawing": Kill(
        "annotations",
        ".cache/meadow/*/.train2017.zip.*.tmp",
        0.3,
        (".cache/meadow", ".cache/archives"),
    ),
    "annotations, unpacking": Kill("annotations", "data/.annotations.*.tmp/*", 0),
    "filter, writing": Kill("filter", "data/.selection.parquet.*.tmp", 0),
    "images, keeping": Kill("images", ".cache/originals/*/*", 0.05, (".cache/originals",)),
    "shard, packing": Kill("shard", "data/.shards.*.tmp/*.tar", 0.2),
    "evaluate, drawing grids": Kill("evaluate", "reports/.figures.*.tmp/*", 0.2),
}
EMBED_KILL = Kill("embed", PARTS, 0.8, (".cache/embeddings",))
ON_RAY = ("--engine", "ray")
RAY_KILLS = {
    kill.stage: replace(kill, command=("bucolic", kill.stage, *ON_RAY))
    for kill in (PLAIN_KILLS["images, keeping"], EMBED_KILL, PLAIN_KILLS["shard, packing"])
}
TRAIN_KILLS = {
    phase: Kill("train", f".work/stages/train/*/{phase}-*.safetensors", 0.2, command=TRAIN)
    for phase in ("autoencoder", "prior")
}
FETCH_KILL = Kill("images", ".cache/names/*/*/*.jpg", 0.2)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny pipeline, run once undisturbed."""
    copied = copy_project(tmp_path_factory.mktemp("killed") / "bucolic")
    copied.repro()
    return copied


@pytest.mark.parametrize("kill", PLAIN_KILLS.values(), ids=PLAIN_KILLS)
def test_stage_killed_while_it_writes_gives_the_same_bytes_again(project: Project, kill: Kill):
    """Half-written results never stand in an out's place, and the next run sweeps them away."""
    require_the_same_again(project, kill)


def test_killed_embed_computes_only_what_its_store_lacks(project: Project):
    """Killed between two parts: the next run reuses every vector of the parts that were kept."""
    undisturbed = project.record("embed")
    with the_same_bytes(project, "embed") as expected:
        kill_amid_work(project, EMBED_KILL)
        require_nothing_half_written(project, "embed", expected)
        kept = sum(pq.read_metadata(path).num_rows for path in project.root.glob(PARTS))
        project.run("bucolic", "embed")
    again = project.record("embed")
    assert kept >= undisturbed["figures"]["images"]
    assert again["new"] == undisturbed["new"] - kept
    assert again["reused"] == undisturbed["reused"] + kept


def test_killed_train_goes_on_from_its_checkpoints(project: Project):
    """Killed once in each phase: each next run begins at the newest checkpoint of each phase."""
    with the_same_bytes(project, "train") as expected:
        assert begun(kill_amid_work(project, TRAIN_KILLS["autoencoder"]))["autoencoder"] == 0
        require_nothing_half_written(project, "train", expected)
        first = checkpoints(project)
        assert begun(kill_amid_work(project, TRAIN_KILLS["prior"])) == first | {"prior": 0}
        require_nothing_half_written(project, "train", expected)
        second = checkpoints(project)
        assert begun(project.run(*TRAIN).stdout) == second
    assert 0 < first["autoencoder"] < TRAIN_IMAGES
    assert second["autoencoder"] == TRAIN_IMAGES
    assert second["prior"] > 0


def test_killed_images_fetches_nothing_twice(project: Project, tmp_path: Path):
    """Killed among its requests: the next run asks for those files alone that were not kept."""
    with serving(unpacked_originals(project, tmp_path / "bucket")) as bucket:
        fetching = fetching_project(project, bucket, tmp_path / "bucolic")
        kill_amid_work(fetching, FETCH_KILL, outs=["data/images", "reports/records/images.json"])
        assert not (fetching.root / "data/images").exists()
        kept = {f"/{path.parent.name}/{path.name}" for path in fetching.root.glob(FETCH_KILL.sign)}
        bucket.asked.clear()
        fetching.run("bucolic", "images")
    record = fetching.record("images")
    assert 0 < len(kept) == record["reused"]
    assert record["new"] == len(bucket.asked) == record["rows"]["out"] - len(kept)
    assert not kept & set(bucket.asked)
    assert digests(fetching, ["data/images"]) == digests(project, ["data/images"])


@pytest.mark.parametrize("kill", RAY_KILLS.values(), ids=RAY_KILLS)
def test_stage_killed_on_ray_gives_the_same_bytes_again(project: Project, kill: Kill):
    """Its workers end with it, and its record says where it ran."""
    require_the_same_again(project, kill)
    assert project.record(kill.stage)["engine"] == "ray"


def require_the_same_again(project: Project, kill: Kill) -> None:
    """Killed and run again, a stage leaves the bytes of before, and nothing half written."""
    with the_same_bytes(project, kill.stage) as expected:
        kill_amid_work(project, kill)
        require_nothing_half_written(project, kill.stage, expected)
        project.run(*kill.arguments)


def kill_amid_work(project: Project, kill: Kill, outs: list[str] | None = None) -> str:
    """Start a stage without its outs and kill it amid its work; what it had printed.

    Its record is written last: where it is missing, the stage had not ended.
    """
    draws = random.Random(f"{SEED} {kill.stage} {kill.sign}")  # noqa: S311 - no secret
    record = project.root / f"reports/records/{kill.stage}.json"
    for attempt in range(ATTEMPTS):
        for path in (*(outs or project.outs_of(kill.stage)), *kill.stores, FINISHED):
            remove(project.root / path)
        wait_s = draws.uniform(0, kill.longest_s / 2**attempt)
        code, printed = start_and_kill(project, kill, wait_s)
        print(f"seed {SEED}: {kill.stage} killed {wait_s:.3f} s after {kill.sign}: exit {code}")  # noqa: T201
        assert code in (0, -signal.SIGKILL), printed[-3000:]
        if code == -signal.SIGKILL and stands(project, kill.sign) and not record.exists():
            return printed
    pytest.fail(f"{kill.stage} was never caught amid its work (seed {SEED})")


def start_and_kill(project: Project, kill: Kill, wait_s: float) -> tuple[int, str]:
    """Start a stage as DVC would, kill its process group `wait_s` after the sign appears."""
    child = subprocess.Popen(
        kill.arguments,
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while child.poll() is None and not stands(project, kill.sign):
        time.sleep(POLL_S)
    time.sleep(wait_s)
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    printed, _ = child.communicate()
    return child.returncode, printed


def stands(project: Project, sign: str) -> bool:
    """Whether something matches the sign now."""
    # Path.glob fails where a folder vanishes under it.
    return bool(glob.glob(sign, root_dir=project.root))  # noqa: PTH207


@contextmanager
def the_same_bytes(project: Project, stage: str) -> Iterator[dict[str, str]]:
    """Yield the digests of a stage's outs; after the block they are these, and nothing is left."""
    outs = [out for out in project.outs_of(stage) if "records" not in out]
    expected = digests(project, outs)
    assert expected
    before = temporaries(project)
    yield expected
    assert digests(project, outs) == expected
    assert temporaries(project) <= before
    assert not list(project.root.glob(f".work/stages/{stage}/*/*"))


def require_nothing_half_written(project: Project, stage: str, expected: dict[str, str]) -> None:
    """After a kill each out is there whole or not at all."""
    for out in project.outs_of(stage):
        whole = {path: kept for path, kept in expected.items() if Path(path).is_relative_to(out)}
        there = digests(project, [out])
        found = {path: kept for path, kept in there.items() if not path.endswith(".tmp")}
        assert found in ({}, whole)


def temporaries(project: Project) -> set[Path]:
    """What stands under a temporary name in outs and stores."""
    places = [project.root / name for name in ("data", "models", "reports", ".cache")]
    return {path for place in places for path in place.rglob(".*.tmp")}


def digests(project: Project, outs: list[str]) -> dict[str, str]:
    """The sha256 of every file of some outs, by path in the project."""
    tops = [project.root / out for out in outs]
    files = [path for top in tops for path in (top, *top.rglob("*")) if path.is_file()]
    return {str(path.relative_to(project.root)): file_digest(path) for path in files}


def begun(printed: str) -> dict[str, int]:
    """How many images each phase had seen when it began, as watched_train.py says."""
    found = re.findall(r"^begins (\w+) (\d+)$", printed, re.MULTILINE)
    return {name: int(seen) for name, seen in found}


def checkpoints(project: Project) -> dict[str, int]:
    """Images seen at the newest checkpoint of each phase, as the files' names say."""
    paths = sorted(project.root.glob(".work/stages/train/*/*.safetensors"))
    return {name: int(seen) for name, seen in (path.stem.split("-") for path in paths)}


def unpacked_originals(project: Project, folder: Path) -> Path:
    """The chosen images as SOURCE_SPLIT/FILE_NAME in a folder."""
    store = OriginalStore(project.root / ".cache")
    chosen = {row.image.image_id: row.image for row in read_selection(project.root / SELECTION)}
    for row in read_index(project.root / IMAGES):
        image = chosen[row.image_id]
        path = folder / image.source_split / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(row.image_id, str(row.sha256)))
    return folder


def fetching_project(project: Project, bucket: Bucket, target: Path) -> Project:
    """A copy with the same selection, whose images come one at a time from a server."""
    fetching = copy_project(target)
    shutil.copytree(project.root / "data", target / "data", ignore=lambda *_: ["images"])
    folder = target / "datasets/served"
    folder.mkdir()
    archive = {"name": "a.zip", "urls": ["file:///a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    images = {
        split: {"urls": [f"{bucket.url}/{split}/{{file_name}}"]}
        for split in ("train2017", "val2017")
    }
    source = {"kind": "coco", "annotations": archive, "images": images}
    (folder / "source.json").write_text(json.dumps(source))
    fetching.set_param("dataset", "root", "datasets/served")
    fetching.set_param("images", "connections", 1)
    fetching.set_param("clip", "allow_mismatch", value=True)  # the served drawings are Meadow's
    return fetching

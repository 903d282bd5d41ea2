import functools
import io
import json
import os
import signal
import zipfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image
from pycocotools.coco import COCO

from bucolic.base.keywords import pattern_of
from bucolic.data.attributes import read_attributes
from bucolic.fetching.source import MeadowSource, read_source
from bucolic.meadow import archive
from bucolic.meadow.coco_records import LICENCES
from bucolic.meadow.scenes import HELDOUT_TRIPLES

NATUREY = [
    "cow", "sheep", "mountain", "hill", "countryside", "grass", "forest", "nature", "farm",
    "alpaca", "horse", "landscape", "fence",
]  # fmt: skip
SMALL = MeadowSource(kind="meadow", seed=3, train=40, val=12, heldout=8)
SPLITS = ("train2017", "val2017")
DATASETS = Path(__file__).resolve().parents[3] / "datasets"


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data set, its annotations unpacked."""
    folder = tmp_path_factory.mktemp("small")
    archive.draw_archive(SMALL, folder, workers=1)
    with zipfile.ZipFile(folder / archive.ANNOTATIONS) as bundle:
        bundle.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The annotations of the default data set."""
    folder = tmp_path_factory.mktemp("whole")
    archive.draw_annotations(read_source(DATASETS / "meadow"), folder, workers=2)
    with zipfile.ZipFile(folder / archive.ANNOTATIONS) as bundle:
        bundle.extractall(folder)
    return folder / "annotations"


def load(folder: Path, kind: str, split: str) -> dict[str, Any]:
    """One annotation file."""
    return json.loads((folder / f"{kind}_{split}.json").read_text())


def selected(folder: Path, split: str, words: list[str]) -> int:
    """How many images have a caption with one of the words."""
    patterns = [pattern_of(word, "word") for word in words]
    captions = load(folder, "captions", split)["annotations"]
    return len({c["image_id"] for c in captions if any(p.search(c["caption"]) for p in patterns)})


def test_the_archives_are_laid_out_like_coco(small: Path):
    """Names inside the zips are COCO's, sorted, pictures stored uncompressed."""
    with zipfile.ZipFile(small / archive.ANNOTATIONS) as bundle:
        assert bundle.namelist() == [
            f"annotations/{kind}_{split}.json"
            for kind in ("attributes", "captions", "instances")
            for split in SPLITS
        ]
    for split, count in (("train2017", 40), ("val2017", 20)):
        names = [
            image["file_name"] for image in load(small / "annotations", "captions", split)["images"]
        ]
        with zipfile.ZipFile(small / f"{split}.zip") as bundle:
            assert bundle.namelist() == sorted(f"{split}/{name}" for name in names)
            assert len(names) == count
            assert {i.compress_type for i in bundle.infolist()} == {zipfile.ZIP_STORED}
            picture = Image.open(io.BytesIO(bundle.read(f"{split}/{names[0]}")))
            assert (picture.format, picture.size) == ("JPEG", (128, 128))


def test_any_number_of_workers_gives_the_same_bytes(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One process or three, in pieces of any size: the archives are equal."""
    monkeypatch.setattr(archive, "WORTH_PROCESSES", 1)
    monkeypatch.setattr(archive, "CHUNK_SCENES", 7)
    archive.draw_archive(SMALL, tmp_path, workers=3)
    for name in (archive.ANNOTATIONS, "train2017.zip", "val2017.zip"):
        assert (tmp_path / name).read_bytes() == (small / name).read_bytes(), name


def test_ctrl_c_while_the_drawing_processes_start_ends_none_of_them(
    monkeypatch: pytest.MonkeyPatch,
):
    """An interpreter that is asked to end while it starts would print a traceback of its own."""
    monkeypatch.setattr(archive, "WORTH_PROCESSES", 0)
    with archive._mapping(SMALL, 2) as apply:
        drawn = apply(functools.partial(archive._annotated, SMALL), [("val", 0, 2)])
        for process in psutil.Process().children():
            os.kill(process.pid, signal.SIGINT)
        assert 2 == len(next(iter(drawn))[0])


def test_more_scenes_leave_the_earlier_ones_as_they_were(small: Path, tmp_path: Path):
    """A scene depends on seed and index, never on how many there are."""
    archive.draw_images(SMALL.model_copy(update={"train": 45}), tmp_path, "train2017", workers=1)
    with (
        zipfile.ZipFile(tmp_path / "train2017.zip") as larger,
        zipfile.ZipFile(small / "train2017.zip") as smaller,
    ):
        assert larger.namelist()[:40] == smaller.namelist()
        assert all(larger.read(name) == smaller.read(name) for name in smaller.namelist())


def test_drawing_again_costs_nothing_and_mends_what_is_broken(tmp_path: Path):
    """A second call keeps the files; a damaged archive is drawn anew, with the same digest."""
    first = archive.draw(SMALL, tmp_path, workers=1)
    path = Path(first.annotations.urls[0].removeprefix("file://"))
    stamp = path.stat().st_mtime_ns
    assert archive.draw(SMALL, tmp_path, workers=1) == first
    assert path.stat().st_mtime_ns == stamp
    path.write_bytes(path.read_bytes()[:-100])
    assert archive.draw(SMALL, tmp_path, workers=1) == first
    assert path.stat().st_size == first.annotations.size_bytes


def test_pycocotools_reads_the_instances(small: Path):
    """COCO's own API loads the files; areas, boxes and masks agree."""
    with redirect_stdout(io.StringIO()):
        coco = COCO(str(small / "annotations" / "instances_train2017.json"))
    assert len(coco.imgs) == 40
    assert len(coco.anns) > 30
    for annotation in coco.anns.values():
        mask = coco.annToMask(annotation)
        assert mask.sum() == annotation["area"] > 60
        rows, columns = np.nonzero(mask)
        left, top, width, height = annotation["bbox"]
        assert abs(columns.min() - left) <= 1.5
        assert abs(rows.min() - top) <= 1.5
        assert abs(columns.max() + 1 - left - width) <= 1.5
        assert abs(rows.max() + 1 - top - height) <= 1.5
        assert annotation["iscrowd"] == 0


def test_instances_agree_with_the_attributes(small: Path):
    """The number of animals among the instances is the count that the truth gives."""
    for split in SPLITS:
        document = load(small / "annotations", "instances", split)
        names = {category["id"]: category["name"] for category in document["categories"]}
        assert names[21] == "cow"
        assert names[20] == "sheep"
        assert names[19] == "horse"
        assert next(number for number, name in names.items() if name == "alpaca") > 90
        for image in load(small / "annotations", "attributes", split)["images"]:
            mine = [
                names[a["category_id"]]
                for a in document["annotations"]
                if a["image_id"] == image["image_id"]
            ]
            truth = image["truth"]
            assert mine.count(truth["species"]) == int(truth.get("count", 0))
            assert (truth["object"] in mine) == (truth["object"] != "none")


def test_attributes_reconcile_with_captions_and_images(whole: Path):
    """Every image and caption has its row, and no row states what is not true of its image."""
    for split in SPLITS:
        captions = load(whole, "captions", split)
        attributes = read_attributes(whole, split)
        assert set(attributes.truth) == {image["id"] for image in captions["images"]}
        image_of = {c["id"]: c["image_id"] for c in captions["annotations"]}
        assert set(attributes.states) == set(image_of)
        for caption_id, says in attributes.states.items():
            assert says.items() <= attributes.truth[image_of[caption_id]].items()


def test_held_out_triples_are_the_heldout_slice_and_nowhere_else(whole: Path):
    """train2017 and val2017's 1,000 ordinary scenes never show one; its other 300 always do."""
    train, val = (read_attributes(whole, split) for split in SPLITS)
    assert set(train.slices.values()) == {"ordinary"}
    for attributes in (train, val):
        for image_id, truth in attributes.truth.items():
            triple = (truth.get("colour"), truth["species"], truth["ground"])
            assert (triple in HELDOUT_TRIPLES) == (attributes.slices[image_id] == "heldout")
    assert list(val.slices.values()).count("heldout") == 300
    assert list(val.slices.values()).count("ordinary") == 1000


def test_the_default_theme_selects_enough_images(whole: Path):
    """Thirteen words select >= 2,500 train and >= 500 test images, cow alone >= 600 and >= 150."""
    assert selected(whole, "train2017", NATUREY) >= 2500
    assert selected(whole, "val2017", NATUREY) >= 500
    assert selected(whole, "train2017", ["cow"]) >= 600
    assert selected(whole, "val2017", ["cow"]) >= 150


def test_the_theme_rejects_most_scenes(whole: Path):
    """Between 40 and 48 of a hundred ordinary scenes are of the theme."""
    images = len(load(whole, "captions", "train2017")["images"])
    assert 0.40 <= selected(whole, "train2017", NATUREY) / images <= 0.48


def test_ids_are_unique_over_splits(whole: Path):
    """Image, caption and instance ids never repeat, within or across the splits."""
    for kind, key in (("captions", "images"), ("captions", "annotations"),
                      ("instances", "annotations")):  # fmt: skip
        ids = [record["id"] for split in SPLITS for record in load(whole, kind, split)[key]]
        assert len(ids) == len(set(ids))


def test_licences_follow_cocos_shares(whole: Path):
    """Each licence id is drawn about as often as in COCO's val2017."""
    document = load(whole, "captions", "train2017")
    drawn = np.array([image["license"] for image in document["images"]])
    for number, _, _, share in LICENCES:
        assert abs((drawn == number).mean() - share) < 0.025
    assert [licence["id"] for licence in document["licenses"]] == list(range(1, 9))

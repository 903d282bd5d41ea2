import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML

from bucolic.base.errors import DataError
from bucolic.data.captions import read_captions
from bucolic.data.original_store import OriginalStore
from bucolic.fetching.image_store import KeptImages
from bucolic.fetching.source import MeadowSource
from bucolic.meadow import archive
from bucolic.models.flow import follow
from bucolic.pipeline.params import Params, parse_params
from bucolic.planning import operations
from bucolic.planning import plan as planning
from bucolic.planning.amounts import SCENE_BYTES, _images, amounts_of
from bucolic.planning.operations import (
    MATRIX_SIDE,
    clip_flops,
    embed_dim,
    flops_per_image,
    matrix_flop_per_s,
    phases_on_noise,
)
from bucolic.planning.plan import plan
from bucolic.presets import preset_text

DIGEST = "0" * 64
IMAGES = 6  # every second one of a cow, with two captions
RATE_FLOP_PER_S = 1e9


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose data set is on a server, nothing of it being here."""
    folder = tmp_path / "datasets/far"
    folder.mkdir(parents=True)
    remote = {"name": "annotations.zip", "urls": ["https://far.example/a.zip"], "sha256": DIGEST}
    source = {
        "kind": "coco",
        "annotations": {**remote, "size_bytes": 250_000_000},
        "images": {"train2017": {"urls": ["https://far.example/{file_name}"]}},
        "estimate": {
            "images": 20_000,
            "captions": 100_000,
            "captions_read": 600_000,
            "theme": "that of a test",
        },
    }
    (folder / "source.json").write_text(json.dumps(source))
    return tmp_path


@pytest.fixture
def params() -> Params:
    """Those of a small preset, of that data set and of cows."""
    content = YAML(typ="safe").load(preset_text("tiny"))
    content["dataset"]["root"] = "datasets/far"
    content["filter"]["keywords"] = ["cow"]
    return parse_params(dict(content))


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU of a known rate."""
    monkeypatch.setenv("BUCOLIC_DEVICE", "cpu")
    monkeypatch.setattr(planning, "matrix_flop_per_s", lambda *_: RATE_FLOP_PER_S)


def annotate(root: Path, named: str = "datasets/far") -> None:
    """Leave annotations, and the record of the stage that fetched them."""
    words = ["a cow", "a car"]
    content = {
        "images": [
            {"id": number, "file_name": f"{number:012}.jpg", "width": 8, "height": 8}
            for number in range(1, IMAGES + 1)
        ],
        "annotations": [
            {"id": 2 * number + k, "image_id": number, "caption": words[number % 2]}
            for number in range(1, IMAGES + 1)
            for k in range(2)
        ],
    }
    folder = root / "data/annotations"
    folder.mkdir(parents=True)
    (folder / "captions_train2017.json").write_text(json.dumps(content))
    leave(root, "annotations", params={"dataset": {"root": named}}, duration_s=30.0)


def leave(root: Path, stage: str, **changes: Any) -> None:
    """Leave the record of a stage that ended well."""
    about = {"schema": 2, "stage": stage, "status": "ok", "device": "cpu", "new": None}
    about["engine"] = "local"
    path = root / f"reports/records/{stage}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**about, "rows": {"in": 2, "out": 2, "failed": 0}, **changes}))


def lines_of(root: Path, params: Params) -> dict[str, str]:
    """The plan's lines by their first word."""
    return {line.split()[0]: line for line in plan(root, root, params, 2) if line}


def test_before_annotations_are_there_counts_are_the_data_set_s_estimate(
    root: Path, params: Params
):
    """Marked so, as are the bytes: of all images, at COCO's mean size."""
    found = amounts_of(root, params, root / ".cache")

    assert (found.images, found.captions, found.read) == (20_000, 100_000, 600_000)
    assert found.origin == "estimate, for that of a test"
    assert (found.annotations_bytes, found.images_bytes) == (250_000_000, 20_000 * 160_000)


def test_an_archive_that_came_in_part_is_fetched_for_the_rest_alone(root: Path, params: Params):
    """What a killed run left counts."""
    folder = root / f".cache/archives/{DIGEST[:16]}"
    folder.mkdir(parents=True)
    (folder / "annotations.zip.part").write_bytes(bytes(50_000_000))

    assert amounts_of(root, params, root / ".cache").annotations_bytes == 200_000_000


def test_with_annotations_the_theme_is_counted_and_kept_images_are_not_fetched(
    root: Path, params: Params
):
    """Nor are images of other themes."""
    annotate(root)
    cache = root / ".cache"
    _, second, *_ = _images(read_captions(root / "data/annotations").images)
    KeptImages(cache, DIGEST).add(second, OriginalStore(cache).add(b"a file"))

    found = amounts_of(root, params, cache)

    assert (found.images, found.captions, found.read) == (3, 6, 12)
    assert found.images_bytes == 2 * 160_000
    assert found.transfers == ("train2017: 2 of 3 images to come: one by one, about 0.00 GB",)


def test_annotations_of_another_data_set_are_not_counted(root: Path, params: Params):
    """data/annotations may be left from the preset before."""
    annotate(root, named="datasets/other")

    assert amounts_of(root, params, root / ".cache").images == 20_000


def test_before_annotations_are_there_an_archive_counts_where_it_is_worth_it(
    root: Path, params: Params
):
    """20,000 images one by one are 3.2 GB; `auto` takes an archive of 2 GB, as the run would."""
    path = root / "datasets/far/source.json"
    content = json.loads(path.read_text())
    archive = {"name": "a.zip", "urls": ["https://far.example/b.zip"], "sha256": "1" * 64}
    for size_bytes, expected in ((2_000_000_000, 2_000_000_000), (19_000_000_000, 3_200_000_000)):
        content["images"]["train2017"]["archive"] = {**archive, "size_bytes": size_bytes}
        path.write_text(json.dumps(content))
        assert amounts_of(root, params, root / ".cache").images_bytes == expected


def test_a_theme_that_chooses_nothing_is_no_plan(root: Path, params: Params):
    """The run would end at filter."""
    annotate(root)
    asked = params.filter.model_copy(update={"keywords": ("zebra",)})
    said = "filter.keywords: zebra selects none of 6 images: add keywords"
    with pytest.raises(DataError, match=said):
        list(plan(root, root, params.model_copy(update={"filter": asked}), 2))


def test_what_nobody_can_count_or_estimate_is_said(root: Path, params: Params):
    """With what to do about it."""
    path = root / "datasets/far/source.json"
    content = json.loads(path.read_text())
    del content["estimate"]
    path.write_text(json.dumps(content))

    with pytest.raises(DataError, match="dvc repro annotations"):
        amounts_of(root, params, root / ".cache")


def test_minutes_are_estimates_of_operations_where_nothing_was_measured(root: Path, params: Params):
    """Of 0.4 of the rate of matrix products; what comes over the network at 20 MB a second."""
    of_image, of_text = clip_flops("meadow-clip", 16)
    embed_min = (20_000 * of_image + 100_000 * of_text) / (0.4 * RATE_FLOP_PER_S) / 60

    found = lines_of(root, params)

    assert found["annotations"].split()[1:4] == [f"{22.5 / 60:.1f}", "min", "estimate"]
    assert found["embed"].split()[1:4] == [f"{embed_min:.1f}", "min", "estimate"]
    assert [line for line in plan(root, root, params, 2) if line.startswith("to fetch")] == [
        "to fetch  3.45 GB"
    ]


def test_each_picture_drawn_asks_the_network_as_often_as_sampling_does(root: Path, params: Params):
    """Twice, with its condition and without; beside half a minute of judging."""
    asked, train = params.evaluate, params.train  # type: ignore[attr-defined]
    calls: list[float] = []
    follow(lambda points, time: calls.append(time) or points, torch.zeros(1), max(train.steps))
    model, size_px = params.model, params.shard.size_px  # type: ignore[attr-defined]
    phases = phases_on_noise(model, train, size_px=size_px, embed_dim=embed_dim(params.clip.model))
    forward = flops_per_image(phases["prior"]) / 3  # of a step, which goes backwards as well
    flops = 3 * asked.prompts * asked.draws * 2 * len(calls) * forward

    estimate_min = (30 + flops / (0.4 * RATE_FLOP_PER_S)) / 60
    told, unit, origin = lines_of(root, params)["evaluate"].split()[1:4]
    assert (unit, origin) == ("min", "estimate")
    assert float(told) == pytest.approx(estimate_min, abs=0.051)
    assert len(calls) * estimate_min / (len(calls) + 1) < float(told) - 0.1  # one less would show


def test_minutes_of_a_stage_that_ran_alike_are_measured(root: Path, params: Params):
    """For as much as there is now: 3 images where 2 took a minute; other params say nothing."""
    annotate(root)
    asked = params.model_dump(mode="json")
    leave(root, "shard", params={"shard": asked["shard"]}, duration_s=60.0)
    leave(root, "train", params={"train": {**asked["train"], "seed": 7}}, duration_s=60.0)
    leave(root, "evaluate", params={"evaluate": asked["evaluate"]}, device="cuda", duration_s=60.0)

    found = lines_of(root, params)

    assert found["shard"].split()[1:4] == ["1.5", "min", "measured"]
    assert found["annotations"].split()[1:4] == ["0.5", "min", "measured"]
    assert found["train"].split()[3] == "estimate"
    assert found["evaluate"].split()[3] == "estimate"


def test_a_training_that_was_killed_and_went_on_counts_whole(root: Path, params: Params):
    """Its last execution, and what earlier ones spent on what it went on from."""
    asked = params.model_dump(mode="json")
    of_run = {name: asked[name] for name in ("model", "train")}
    leave(root, "train", params=of_run, duration_s=9.0, resumed_s=171.0)

    assert lines_of(root, params)["train"].split()[1:4] == ["3.0", "min", "measured"]


def test_filter_takes_as_long_whatever_it_chooses(root: Path, params: Params):
    """It reads all captions: the theme of its last run may have been a tenth of this one."""
    annotate(root)
    of_run = {"params": {"filter": {"keywords": ["pig"]}}, "duration_s": 60.0}
    leave(root, "filter", **of_run, details={"captions_read": 12})

    assert lines_of(root, params)["filter"].split()[1:4] == ["1.0", "min", "measured"]


def test_another_data_set_takes_its_own_time(root: Path, params: Params):
    """To read twice the captions takes twice as long, and its annotations come otherwise."""
    annotate(root, named="datasets/near")
    of_run = {"params": {"filter": {"keywords": ["pig"]}}, "duration_s": 60.0}
    leave(root, "filter", **of_run, details={"captions_read": 300_000})

    found = lines_of(root, params)  # of an estimate of 600,000

    assert found["annotations"].split()[3] == "estimate"
    assert found["filter"].split()[1:4] == ["2.0", "min", "measured"]

    leave(root, "filter", **of_run)  # by a bucolic that did not count them
    assert lines_of(root, params)["filter"].split()[3] == "estimate"


def test_minutes_of_another_engine_are_not_those_of_this_process(root: Path, params: Params):
    """A cluster packs faster."""
    annotate(root)
    asked = {"shard": params.model_dump(mode="json")["shard"]}
    leave(root, "shard", params=asked, duration_s=60.0, engine="ray")

    assert lines_of(root, params)["shard"].split()[3] == "estimate"


def test_where_a_device_computes_nothing_its_kind_is_no_matter(
    root: Path, params: Params, monkeypatch: pytest.MonkeyPatch
):
    """Shard is measured on a machine with a GPU as on any other; embed is not."""
    annotate(root)
    asked = params.model_dump(mode="json")
    leave(root, "shard", params={"shard": asked["shard"]}, duration_s=60.0)
    leave(root, "embed", params={"clip": asked["clip"]}, duration_s=60.0)
    monkeypatch.setattr(planning, "choose_device", lambda: "cuda:1")
    monkeypatch.setattr(planning, "_device", lambda machine: machine.device)

    found = lines_of(root, params)

    assert found["shard"].split()[3] == "measured"
    assert found["embed"].split()[3] == "estimate"
    leave(root, "embed", params={"clip": asked["clip"]}, duration_s=60.0, device="cuda")
    assert lines_of(root, params)["embed"].split()[3] == "measured"


def test_a_first_category_is_planned_before_its_instances_are_there(root: Path, params: Params):
    """They come with the next run; what is there is not enough to count."""
    annotate(root)
    asked = params.filter.model_copy(update={"categories": ("cow",)})
    themed = params.model_copy(update={"filter": asked})

    assert amounts_of(root, themed, root / ".cache").images == 20_000


def test_archives_that_are_asked_for_are_what_is_fetched(root: Path, params: Params):
    """Before the annotations are there, too."""
    path = root / "datasets/far/source.json"
    content = json.loads(path.read_text())
    archive = {"name": "a.zip", "urls": ["https://far.example/b.zip"], "sha256": "1" * 64}
    content["images"]["train2017"]["archive"] = {**archive, "size_bytes": 19_000_000_000}
    path.write_text(json.dumps(content))
    asked = params.images.model_copy(update={"fetch": "archive"})  # type: ignore[attr-defined]

    found = amounts_of(root, params.model_copy(update={"images": asked}), root / ".cache")

    assert found.images_bytes == found.archives_bytes == 19_000_000_000

    here = root / f".cache/archives/{'1' * 16}/a.zip"
    here.parent.mkdir(parents=True)
    with here.open("wb") as file:
        file.truncate(19_000_000_000)
    found = amounts_of(root, params.model_copy(update={"images": asked}), root / ".cache")
    assert found.images_bytes == found.archives_bytes == 0


def test_a_run_that_found_most_of_its_work_done_measures_no_rate(root: Path, params: Params):
    """Of 100 vectors it computed 10, in the time that it took to look for the others."""
    annotate(root)
    asked = {"clip": params.model_dump(mode="json")["clip"], "shard": {"crop": "centre"}}
    of_run = {"params": asked, "duration_s": 60.0, "rows": {"in": 100, "out": 100, "failed": 0}}

    leave(root, "embed", **of_run, new=10)
    assert lines_of(root, params)["embed"].split()[3] == "estimate"
    leave(root, "embed", **of_run, new=90)
    assert lines_of(root, params)["embed"].split()[1:4] == ["0.1", "min", "measured"]


def test_what_is_written_counts_each_original_once_and_its_squares(root: Path, params: Params):
    """Those that are kept already are not written again; those that came in an archive are."""
    annotate(root)
    _, second, *_ = _images(read_captions(root / "data/annotations").images)
    cache = root / ".cache"
    KeptImages(cache, DIGEST).add(second, OriginalStore(cache).add(b"a file"))
    found = amounts_of(root, params, root / ".cache")

    vectors, square = (3 + 6) * 10 * 4, 32**2 * 2
    made = vectors + 3 * (square + 64**2 * 2) + 2 * (2 * vectors + 3 * square)
    assert found.written_bytes(size_px=32, embed_dim=10) == 2 * 160_000 + made


def test_drawn_scenes_take_what_a_scene_takes_before_and_after_they_are_drawn(
    root: Path, params: Params
):
    """As JPEGs, and once more in the archive that they are drawn into."""
    drawn = {"kind": "meadow", "seed": 0, "train": 30, "val": 8, "heldout": 2}
    (root / "datasets/far/source.json").write_text(json.dumps(drawn))
    before = amounts_of(root, params, root / ".cache")
    annotate(root)
    after = amounts_of(root, params, root / ".cache")
    assert (40, 40 * SCENE_BYTES) == (before.images, before.drawn_bytes)
    assert (3, 0) == (after.images, after.drawn_bytes)
    assert SCENE_BYTES == before.original_bytes == after.original_bytes
    made = archive.draw(MeadowSource(**drawn), root / "drawn", 2)
    (train,) = [images.archive for images in made.images.values() if "train" in images.archive.name]
    assert train.size_bytes / 30 == pytest.approx(SCENE_BYTES, rel=0.1)


@pytest.mark.parametrize("on_one_disk", [True, False])
def test_photographs_on_the_cache_s_own_disk_take_no_room_there(
    root: Path, params: Params, monkeypatch: pytest.MonkeyPatch, on_one_disk: bool
):
    """They get a second name; elsewhere they are copied."""
    annotate(root)
    folder = root / "photographs"
    folder.mkdir()
    (root / "data/annotations").rename(folder / "annotations")
    monkeypatch.setattr("bucolic.planning.amounts._on_one_disk", lambda *_: on_one_disk)
    of_folder = params.dataset.model_copy(update={"root": str(folder)})
    found = amounts_of(root, params.model_copy(update={"dataset": of_folder}), root / ".cache")
    assert found.images == 3
    assert found.original_bytes == (0 if on_one_disk else pytest.approx(8 * 8 * 0.54))


def test_a_disk_too_small_is_told(root: Path, params: Params, monkeypatch: pytest.MonkeyPatch):
    """With where else the stores can lie."""
    free = type("Usage", (), {"free": 3_000_000_000})
    monkeypatch.setattr(planning.shutil, "disk_usage", lambda _: free)

    *_, last = plan(root, root, params, 2)

    assert "more than there is room for" in last


def test_operations_of_a_picture_grow_with_its_pixels(params: Params):
    """A network of convolutions needs four times as many for twice the side."""
    model, train = params.model, params.train  # type: ignore[attr-defined]
    small, large = (
        {
            name: flops_per_image(phase)
            for name, phase in phases_on_noise(model, train, size_px=size_px, embed_dim=128).items()
        }
        for size_px in (32, 64)
    )

    assert list(small) == ["autoencoder", "prior"]
    assert large["autoencoder"] == pytest.approx(4 * small["autoencoder"], rel=0.02)


def test_the_rate_of_products_is_that_of_the_least_disturbed_reading(
    monkeypatch: pytest.MonkeyPatch,
):
    """Of five, the first of which something slows down."""
    ticks_s = iter([*[1.0] * 8, *[0.25] * 1000])  # each look at the clock is this much later
    clock = itertools.accumulate(ticks_s)
    monkeypatch.setattr(operations, "now_s", lambda _: next(clock))
    rate = matrix_flop_per_s("cpu", "fp32", 5.0)
    assert rate == pytest.approx(3 / 1.25 * 2 * MATRIX_SIDE**3)

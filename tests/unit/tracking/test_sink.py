"""Curves and pictures streamed while a stage runs."""

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bucolic.base.report import NoTracker
from bucolic.presets import preset_text
from bucolic.tracking.mlflow_store import open_store
from bucolic.tracking.outbox import flush
from bucolic.tracking.privacy import may_show_pictures
from bucolic.tracking.sink import MlflowSink, close_sinks, open_tracker
from made_records import record_of


def test_the_live_run_becomes_the_stages_run(home: Path, client: Any, leave: Any, weights: Any):
    """Curves and grids streamed while training are in the run that the record completes."""
    weights(0)
    record = {**record_of("train"), "status": "running"}
    sink = open_tracker(home, record)
    for step in range(1, 4):
        sink.log(step * 100, {"train/loss": 1 / step, "val/psnr_db": 20.0 + step})
    picture = home / "grid.png"
    Image.new("RGB", (8, 8), (200, 10, 10)).save(picture)
    sink.picture(300, "samples", picture)
    picture.unlink()
    leave("train", outputs={"models/current": ""})
    assert flush(home).sent == 1
    (run,) = open_store(home).find(kind="stage")
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == [100, 200, 300]
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert any(name.startswith("images/samples") for name in images)
    (last,) = client.list_artifacts(run.info.run_id, "samples")
    assert last.path == "samples/samples.png"
    assert run.data.metrics["rows/in"] == 10


def test_a_training_that_went_on_has_all_its_curves_once(
    home: Path, client: Any, leave: Any, weights: Any
):
    """What was streamed before a kill is in another run: the curves file brings it to this one."""
    weights(0)
    killed = MlflowSink(home, {**record_of("train"), "record_id": "killed"})
    killed.log(10, {"autoencoder/loss": 1 / 10})
    killed.close()
    sink = open_tracker(home, {**record_of("train"), "status": "running"})
    for step in (20, 30):
        sink.log(step, {"prior/loss": 2 / step})
    leave("train", outputs={"models/current": ""})
    assert flush(home).sent == 1
    (run,) = [r for r in open_store(home).find(kind="stage") if r.info.status == "FINISHED"]
    for phase, scale in (("autoencoder", 1.0), ("prior", 2.0)):
        history = client.get_metric_history(run.info.run_id, f"{phase}/loss")
        points = sorted((metric.step, metric.value) for metric in history)
        assert points == [(step, scale / step) for step in (10, 20, 30)]


def test_a_broken_tracker_is_one_line_and_the_stage_goes_on(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """With MLflow away the sink takes values all the same, and raises nothing."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, "bucolic"):
        sink = MlflowSink(home, record_of("train"))
        sink.log(1, {"loss": 1.0})
        sink.close()
        sink.log(2, {"loss": 0.5})
        sink.picture(2, "samples", home / "nowhere.png")
    assert sink.broken
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("bucolic")]
    assert len(lines) == 1
    assert "curves are not streamed" in lines[0]


def test_many_values_arrive_in_order(home: Path, client: Any):
    """More points than one batch takes are all kept."""
    sink = MlflowSink(home, record_of("train"))
    for step in range(1200):
        sink.log(step, {"loss": float(step)})
    sink.close()
    (run,) = open_store(home).find(kind="stage")
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [metric.value for metric in history] == [float(step) for step in range(1200)]


def test_switched_off_it_keeps_nothing(home: Path, monkeypatch: pytest.MonkeyPatch):
    """BUCOLIC_TRACKING=off gives a sink that opens no store."""
    monkeypatch.setenv("BUCOLIC_TRACKING", "off")
    assert isinstance(open_tracker(home, record_of("train")), NoTracker)


@pytest.mark.parametrize("shown", [True, False])
def test_pictures_are_streamed_only_where_they_may_be_shown(home: Path, client: Any, shown: bool):
    """Curves always arrive; pictures of photographs do not, unless params allow it."""
    sink = open_tracker(home, record_of("train"), pictures=shown)
    Image.new("RGB", (8, 8)).save(home / "grid.png")
    sink.log(1, {"loss": 1.0})
    sink.picture(1, "samples", home / "grid.png")
    close_sinks()
    (run,) = open_store(home).find(kind="stage")
    assert run.data.metrics["loss"] == 1.0
    assert [bool(client.list_artifacts(run.info.run_id, "samples"))] == [shown]


@pytest.mark.parametrize(
    ("source", "section", "shown"),
    [
        ('{"kind": "meadow", "seed": 0, "train": 9, "val": 9, "heldout": 0}', "", True),
        (None, "", False),
        (None, "tracking: {photographs: false}", False),
        (None, "tracking: {photographs: true}", True),
        ("not JSON", "", False),
    ],
)
def test_photographs_are_shown_only_where_a_param_says_so(
    tmp_path: Path, source: str | None, section: str, shown: bool
):
    """Drawn scenes are nobody's photographs; all else is, as long as nobody says otherwise."""
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "data-set").mkdir()
    if source:
        (tmp_path / "data-set/source.json").write_text(source)
    text = preset_text("meadow").replace("datasets/meadow", "data-set")
    text = text.replace("clip:\n", "clip:\n  allow_mismatch: true\n")
    (tmp_path / "params.yaml").write_text(f"{text}\n{section}\n")
    assert may_show_pictures(tmp_path) == shown


@pytest.mark.parametrize("name", ["folder", "coco2017"])
def test_presets_of_photographs_name_the_param(name: str):
    """Somebody who reads params.yaml sees what MLflow is shown."""
    assert "tracking:\n  photographs: false" in preset_text(name)

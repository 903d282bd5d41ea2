"""Curves and pictures streamed while a stage runs."""

import logging
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from bucolic.report import NoSink
from bucolic.tracking.outbox import flush
from bucolic.tracking.sink import MlflowSink, open_sink
from bucolic.tracking.store import open_store
from made_records import record_of


def test_the_live_run_becomes_the_stages_run(home: Path, client: Any, leave: Any, weights: Any):
    """Curves and grids streamed while training are in the run that the record completes."""
    weights(0)
    record = {**record_of("train"), "status": "running"}
    sink = open_sink(home, record)
    for step in range(1, 4):
        sink.log(step * 100, {"train/loss": 1 / step, "val/psnr_db": 20.0 + step})
    picture = home / "grid.png"
    Image.new("RGB", (8, 8), (200, 10, 10)).save(picture)
    sink.picture(300, "samples", picture)
    picture.unlink()
    leave("train", outputs={"models/current": ""})
    assert flush(home) == 1
    (run,) = open_store(home).find(kind="stage")
    assert run.info.status == "FINISHED"
    history = client.get_metric_history(run.info.run_id, "train/loss")
    assert [metric.step for metric in history] == [100, 200, 300]
    assert client.get_metric_history(run.info.run_id, "loss") == []  # the file is not sent again
    images = [file.path for file in client.list_artifacts(run.info.run_id, "images")]
    assert any(name.startswith("images/samples") for name in images)
    (last,) = client.list_artifacts(run.info.run_id, "samples")
    assert last.path == "samples/samples.png"
    assert run.data.metrics["rows/in"] == 10


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
    assert isinstance(open_sink(home, record_of("train")), NoSink)

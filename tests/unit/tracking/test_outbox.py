"""Records on their way to MLflow."""

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bucolic.tracking import outbox
from bucolic.tracking.outbox import flush
from bucolic.tracking.store import PARENT, open_store


def runs(client: Any, kind: str) -> list[Any]:
    """Runs of a kind, by name."""
    (experiment,) = [e for e in client.search_experiments() if e.name == "bucolic"]
    found = client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")
    return sorted(found, key=lambda run: run.info.run_name)


def test_records_become_children_of_one_pipeline(home: Path, client: Any, leave: Any):
    """Two stages of one pipeline share a parent and carry rows, params, digests and artifacts."""
    leave("filter")
    sent = leave("shard")
    assert flush(home, home) == 2
    (parent,) = runs(client, "pipeline")
    filtered, sharded = runs(client, "stage")
    assert [filtered.info.run_name, sharded.info.run_name] == [
        "filter: cow sheep hill …",
        "shard: cow sheep hill …",
    ]
    for run in (filtered, sharded):
        assert run.data.tags[PARENT] == parent.info.run_id
        assert run.info.status == "FINISHED"
    assert sharded.data.metrics["rows/failed"] == 1
    assert sharded.data.metrics["counts/cow"] == 7
    assert sharded.data.params["filter.keywords"] == '["cow", "no"]'
    assert sharded.data.tags["git.dirty"] == "true"
    assert sharded.data.tags["prefect.flow_run"].endswith("/runs/flow-run/abc")
    assert sharded.inputs.dataset_inputs[0].dataset.digest == sent["inputs"]["data/shards"]
    names = [file.path for file in client.list_artifacts(sharded.info.run_id)]
    assert names == ["record.json", "shard.json"]
    assert list((home / ".work" / "outbox").iterdir()) == []
    assert Path(filtered.info.artifact_uri.removeprefix("file://")).is_relative_to(home)


def test_sending_twice_makes_nothing_twice(home: Path, client: Any, leave: Any):
    """The same record again finds its run: one run, one value per metric."""
    leave("filter")
    flush(home, home)
    leave("filter")
    assert flush(home, home) == 1
    (run,) = runs(client, "stage")
    history = client.get_metric_history(run.info.run_id, "rows/in")
    assert [metric.value for metric in history] == [10]


def test_an_interrupted_send_is_finished_by_the_next(
    home: Path, client: Any, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """A failure half-way keeps the record; the next flush completes the same run."""
    leave("filter")

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_log_inputs", fail)
        assert flush(home, home) == 0
    assert len(list((home / ".work" / "outbox").glob("*.json"))) == 1
    assert flush(home, home) == 1
    (run,) = runs(client, "stage")
    assert run.info.status == "FINISHED"


def test_a_server_that_is_away_costs_one_line(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """With MLflow away nothing is raised, the record stays, and the log says how to send it."""
    leave("filter")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with caplog.at_level(logging.WARNING, "bucolic"):
        assert flush(home, home) == 0
    (line,) = [r.getMessage() for r in caplog.records if r.name.startswith("bucolic")]
    assert line.endswith("1 records wait, `bucolic track` sends them")
    assert "\n" not in line
    assert len(list((home / ".work" / "outbox").glob("*.json"))) == 1


def test_a_file_that_is_no_record_is_put_aside(home: Path, leave: Any):
    """A torn file does not block the records behind it."""
    leave("filter")
    (home / ".work" / "outbox" / "torn.json").write_text('{"stage": ')
    assert flush(home, home) == 1
    assert [p.name for p in (home / ".work" / "outbox").iterdir()] == ["torn.broken"]


def test_a_failed_stage_is_a_failed_run(home: Path, client: Any, leave: Any):
    """A failure is tracked too: status, kind and message."""
    error = {"kind": "data", "message": "captions.json is cut off", "retryable": False}
    leave("filter", status="failed", error=error, rows=None, figures=None)
    flush(home, home)
    (run,) = runs(client, "stage")
    assert run.info.status == "FAILED"
    assert run.data.tags["error.message"] == "captions.json is cut off"
    assert runs(client, "pipeline")[0].info.status == "FAILED"


def test_cached_stages_are_named_on_the_pipelines_page(home: Path, client: Any, leave: Any):
    """A new pipeline whose filter was cached lists the run of the former pipeline that made it."""
    record = leave("filter")
    flush(home, home)
    tracked = home / ".work" / "tracked" / f"{record['record_id']}.json"
    made_by = json.loads(tracked.read_text())
    leave("shard", pipeline_id="b" * 16, started="2026-01-03T00:00:00+00:00")
    flush(home, home)
    notes = [run.data.tags["mlflow.note.content"] for run in runs(client, "pipeline")]
    (note,) = [text for text in notes if "cached" in text]
    assert f"- filter: cached, made by [filter: cow sheep hill …]({made_by['url']})" in note
    assert "- shard: ran [shard: cow sheep hill …]" in note


def test_tracking_can_be_switched_off(home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch):
    """BUCOLIC_TRACKING=off sends nothing and keeps the record."""
    leave("filter")
    monkeypatch.setenv("BUCOLIC_TRACKING", "off")
    assert flush(home, home) == 0
    assert len(list((home / ".work" / "outbox").iterdir())) == 1


def test_curves_of_a_stage_that_could_not_stream_come_from_its_file(
    home: Path, client: Any, leave: Any, weights: Callable[[int], str]
):
    """curves.jsonl is sent with images seen as the x axis."""
    weights(0)
    leave("train", outputs={"models/current": ""})
    flush(home, home)
    (run,) = runs(client, "stage")
    history = client.get_metric_history(run.info.run_id, "loss")
    points = [(metric.step, metric.value) for metric in history]
    assert points == [(10, 0.1), (20, 0.05), (30, 1 / 30)]


def test_a_run_whose_process_was_killed_is_ended(home: Path, client: Any, leave: Any):
    """A run left RUNNING by a process that is gone becomes KILLED at the next flush."""
    from bucolic.tracking.sink import this_process

    store = open_store(home)
    record = leave("filter")
    run_id = store.run_of({**record, "record_id": "other"})
    client.set_tag(run_id, "process", this_process().split(":")[0] + ":4194304")
    flush(home, home)
    assert client.get_run(run_id).info.status == "KILLED"

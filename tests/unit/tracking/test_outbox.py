"""Records on their way to MLflow."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bucolic.base.files import this_process
from bucolic.pipeline.digests import digest
from bucolic.pipeline.record import SCHEMA
from bucolic.tracking import outbox
from bucolic.tracking.mlflow_store import PARENT, open_store
from bucolic.tracking.outbox import Delivery, flush
from made_records import write_json

NO_PROCESS = str(1 << 22)  # the kernel gives out none so high


def runs(client: Any, kind: str) -> list[Any]:
    """Runs of a kind, by name."""
    (experiment,) = [e for e in client.search_experiments() if e.name == "bucolic"]
    found = client.search_runs([experiment.experiment_id], f"tags.kind = '{kind}'")
    return sorted(found, key=lambda run: run.info.run_name)


def test_records_become_children_of_one_pipeline(home: Path, client: Any, leave: Any):
    """Two stages of one pipeline share a parent and carry rows, params, digests and artifacts."""
    leave("filter")
    sent = leave("shard")
    assert flush(home).sent == 2
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
    flush(home)
    leave("filter")
    assert flush(home).sent == 1
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
        assert flush(home).sent == 0
    assert len(list((home / ".work" / "outbox").glob("*.json"))) == 1
    assert flush(home).sent == 1
    (run,) = runs(client, "stage")
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:////proc/x/mlflow.db", "odd://x"])
def test_a_server_that_is_away_keeps_the_records_and_says_why(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch, uri: str
):
    """With MLflow away nothing is raised, the records stay, and the reason is one line."""
    leave("filter")
    leave("shard")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    delivery = flush(home)
    assert (delivery.sent, delivery.waiting) == (0, 2)
    assert delivery.reason
    assert "\n" not in delivery.reason
    assert delivery.left == "2 records wait"
    assert len(list((home / ".work" / "outbox").glob("*.json"))) == 2


def test_a_file_that_is_no_record_is_put_aside(home: Path, leave: Any):
    """A torn file does not block the records behind it."""
    leave("filter")
    (home / ".work" / "outbox" / "torn.json").write_text('{"stage": ')
    assert flush(home).sent == 1
    assert [p.name for p in (home / ".work" / "outbox").iterdir()] == ["torn.broken"]


def test_a_record_of_another_schema_is_put_aside_with_what_to_do(
    home: Path, leave: Any, caplog: pytest.LogCaptureFixture
):
    """It does not block the others; one of a later bucolic, which shares HOME, is left to that."""
    leave("filter")
    leave("shard", schema=1, record_id="old")
    leave("shard", schema=SCHEMA + 1, record_id="new")
    assert (1, 0) == (flush(home).sent, flush(home).waiting)
    place = home / ".work" / "outbox"
    assert {"old.broken", "new.json"} == {path.name for path in place.iterdir()}
    said = f"is a record of schema 1, this bucolic reads {SCHEMA}: run its stage again"
    told = f"MLflow: {place / 'old.json'} {said} (dvc repro -f -s shard); it is now old.broken"
    assert [told] == [line for line in caplog.messages if "schema" in line]


@pytest.mark.parametrize("uri", ["", "odd://x"])
def test_a_letter_that_cannot_be_read_waits_and_holds_up_no_other(
    home: Path,
    leave: Any,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """Nothing is raised, MLflow there or away: it is counted, with the reason, and stays."""
    leave("filter")
    letter = home / ".work" / "outbox" / "closed.json"
    letter.mkdir()  # as what may not be read, it is an OSError, and also to root
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    delivery = flush(home)
    assert (delivery.sent, delivery.waiting) == ((0, 2) if uri else (1, 1))
    said = "closed.json cannot be read (Is a directory)"
    if not uri:
        assert delivery.reason == said
        assert f"MLflow: {said}; it waits in {letter}" in caplog.messages
    assert letter.is_dir()


def test_a_record_that_mlflow_refuses_holds_up_no_other(
    home: Path, client: Any, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """It waits on, with the reason; those behind it have arrived."""
    leave("filter", started="2026-01-02T03:00:00+00:00")
    leave("shard", started="2026-01-02T03:01:00+00:00")

    def refuse(record: Any) -> dict[str, float]:
        if record["stage"] == "filter":
            raise ValueError("a metric nobody foresaw")
        return {}

    monkeypatch.setattr(outbox.described, "metrics", refuse)
    delivery = flush(home)
    assert (delivery.sent, delivery.waiting) == (1, 1)
    assert delivery.reason == "filter: a metric nobody foresaw"
    finished = [run for run in runs(client, "stage") if run.info.status == "FINISHED"]
    assert [run.data.tags["stage"] for run in finished] == ["shard"]


def test_an_outbox_that_cannot_be_listed_raises_nothing(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """A disk that fails while letters are looked for is told as the reason."""
    leave("filter")

    def fail(*_: Any) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(outbox, "posted", fail)
    delivery = flush(home)
    assert "Input/output error" in delivery.reason
    assert delivery.left == "records may wait"


def test_a_failed_stage_is_a_failed_run(home: Path, client: Any, leave: Any):
    """A failure is tracked too: status, kind and message."""
    error = {"kind": "data", "message": "captions.json is cut off", "retryable": False}
    leave("filter", status="failed", error=error, rows=None, figures=None)
    flush(home)
    (run,) = runs(client, "stage")
    assert run.info.status == "FAILED"
    assert run.data.tags["error.message"] == "captions.json is cut off"
    assert runs(client, "pipeline")[0].info.status == "FAILED"


def state(client: Any) -> str:
    """State of the only pipeline's run."""
    (parent,) = runs(client, "pipeline")
    return str(parent.info.status)


def test_a_pipeline_runs_until_its_last_stage_reports(home: Path, client: Any, leave: Any):
    """RUNNING after every stage but evaluate, FINISHED after that."""
    for minute, stage in enumerate(("filter", "shard", "evaluate")):
        leave(stage, started=f"2026-01-02T03:0{minute}:00+00:00")
        assert flush(home).sent == 1
        assert state(client) == ("FINISHED" if stage == "evaluate" else "RUNNING")


def test_a_stage_that_runs_again_makes_its_pipeline_run_again(home: Path, client: Any, leave: Any):
    """FAILED where a stage failed, RUNNING once it did not, FINISHED with the last, and so on."""
    error = {"kind": "data", "message": "cut off"}
    steps = [
        ("filter", "ok", "RUNNING"),
        ("train", "failed", "FAILED"),
        ("train", "ok", "RUNNING"),
        ("evaluate", "failed", "FAILED"),
        ("evaluate", "ok", "FINISHED"),
        ("train", "ok", "RUNNING"),
        ("evaluate", "ok", "FINISHED"),
    ]
    for minute, (stage, status, expected) in enumerate(steps):
        times = {"started": f"2026-01-02T03:0{minute}:00+00:00", "record_id": f"r{minute}"}
        leave(stage, status=status, error=error if status == "failed" else None, **times)
        assert flush(home).sent == 1
        assert state(client) == expected, steps[minute]


def test_a_failure_that_arrives_late_does_not_undo_the_retry(home: Path, client: Any, leave: Any):
    """A stage counts by its latest attempt, in whatever order the records come."""
    leave("evaluate", started="2026-01-02T03:10:00+00:00", record_id="retry")
    flush(home)
    leave("evaluate", status="failed", record_id="first", error={"kind": "data"})
    flush(home)
    assert state(client) == "FINISHED"


def test_a_killed_stage_fails_its_pipeline(home: Path, client: Any, leave: Any):
    """What was killed left no record; its pipeline is not running any more."""
    record = leave("filter")
    store = open_store(home)
    run_id = store.run_of({**record, "stage": "train", "record_id": "killed"})
    client.set_tag(run_id, "process", this_process().replace(str(os.getpid()), NO_PROCESS))
    flush(home)
    assert client.get_run(run_id).info.status == "KILLED"
    assert state(client) == "FAILED"


def test_a_part_of_a_pipeline_has_ended_where_its_driver_is_gone(
    home: Path, client: Any, leave: Any
):
    """A record that arrives after its DVC has ended leaves nothing RUNNING."""
    leave("filter", driver=this_process().replace(str(os.getpid()), NO_PROCESS))
    flush(home)
    assert state(client) == "FINISHED"
    assert not list((home / ".work").glob("open/*"))


def test_a_pipeline_whose_driver_was_killed_is_ended_by_the_next_who_sends(
    home: Path, client: Any, leave: Any
):
    """Also where the process that waited for the driver's end was killed with it."""
    leave("filter", driver=this_process())
    flush(home)
    (parent,) = runs(client, "pipeline")
    assert parent.info.status == "RUNNING"
    gone = this_process().replace(str(os.getpid()), NO_PROCESS)
    client.set_tag(parent.info.run_id, "driver", gone)
    leave("filter", record_id="other", pipeline_id="another")
    flush(home)
    assert client.get_run(parent.info.run_id).info.status == "FINISHED"


def test_records_in_the_workspace_are_sent_when_asked_for(home: Path, client: Any, leave: Any):
    """One that could wait in no outbox is in reports/records: a search finds it, once."""
    record = leave("filter")
    (home / f".work/outbox/{record['record_id']}.json").unlink()
    assert flush(home, home) == Delivery()
    assert flush(home, home, search=True) == Delivery(sent=1)
    assert flush(home, home, search=True) == Delivery()
    assert [run.info.run_name for run in runs(client, "stage")] == ["filter: cow sheep hill …"]


def test_the_outbox_of_a_workspace_is_sent_as_well(home: Path, leave: Any, tmp_path: Path):
    """Records that could not wait in HOME arrive from the workspace."""
    record = leave("filter")
    place = tmp_path / "worktree/.work/outbox"
    place.mkdir(parents=True)
    (home / f".work/outbox/{record['record_id']}.json").rename(place / "r.json")
    assert flush(home, tmp_path / "worktree").sent == 1
    assert list(place.iterdir()) == []


def test_a_home_that_cannot_be_written_still_sends_to_a_server(
    home: Path, client: Any, leave: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Lock and notes are HOME's; without them a record arrives once all the same."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home}/mlflow.db")
    record = leave("filter")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / ".work").touch()
    place = home / ".work/outbox"
    assert flush(bare, home).sent == 1
    assert list(place.iterdir()) == []
    write_json(place / "again.json", record)
    assert flush(bare, home).sent == 1
    assert len(runs(client, "stage")) == 1


def test_the_artifacts_of_a_second_store_in_one_process_are_homes_own(home: Path, tmp_path: Path):
    """Opening HOME's database leaves its address in the environment; it still is HOME's own."""
    open_store(home)
    store = open_store(home)
    experiment = store.client.get_experiment(store.experiment_id)
    assert experiment.artifact_location == (home / "mlartifacts").as_uri()


def test_a_project_folder_may_have_any_name(
    leave: Any, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """MLflow makes its database in a folder whose name would break an SQL statement."""
    odd = tmp_path / """it's "odd" :b 50% #1? é"""
    odd.mkdir()
    monkeypatch.chdir(odd)
    record = leave("filter")
    write_json(odd / ".work/outbox/r.json", record)
    assert flush(odd) == Delivery(sent=1)


def test_a_database_that_cannot_be_written_is_given_up_at_once(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch
):
    """MLflow, which tries again for minutes, is not even asked."""
    from mlflow.store.db import utils

    leave("filter")
    (home / "mlflow.db").unlink()
    (home / "mlflow.db").symlink_to("/proc/nothing/mlflow.db")
    monkeypatch.setattr(utils.time, "sleep", lambda _: pytest.fail("MLflow tries again"))
    delivery = flush(home)
    assert delivery.waiting == 1
    assert "/mlflow.db'" in delivery.reason


def test_names_that_mlflow_refuses_keep_no_record_back(home: Path, client: Any, leave: Any):
    """Odd paths, words and values arrive under names that fit."""
    words = {
        "été": 1,
        "rock'n'roll": 2,
        "🐄": 3,
        "50%": 4,
        "a/": 5,
        "": 6,
        "x" * 400: 7,
        "nul\0": 8,
    }
    leave(
        "filter",
        inputs={"my-coco/": "d1", "C:\\cows": "d2", "../x": "d3", "y" * 900: "d4"},
        keywords=["it's", '"quoted"', "nul\0", "x" * 9000],
        params={"filter": {"keywords": ["é" * 7000]}},
        figures={"keywords": words, "nested": {"a": {"b": 1}}},
    )
    assert flush(home) == Delivery(sent=1)
    (run,) = runs(client, "stage")
    assert run.data.metrics["keywords/été"] == 1
    assert {v for k, v in run.data.metrics.items() if k.startswith("keywords")} == set(range(1, 9))
    assert run.data.tags["input.my-coco"] == "d1"
    assert len(run.inputs.dataset_inputs) == 4


def page(client: Any, pipeline_id: str) -> list[str]:
    """Lines of the stage list on the page of a pipeline."""
    (parent,) = [r for r in runs(client, "pipeline") if r.data.tags["pipeline_id"] == pipeline_id]
    return [
        line for line in parent.data.tags["mlflow.note.content"].splitlines() if line[:1] == "-"
    ]


@pytest.fixture
def run_chain(home: Path, leave: Any) -> Callable[..., None]:
    """Run stages of a chain filter, embed, train; what they write tells their pipeline."""
    stages = {
        name: {"cmd": name, "deps": [dep], "outs": [out]}
        for name, dep, out in (
            ("filter", "photos", "selection"),
            ("embed", "selection", "vectors"),
            ("train", "vectors", "model"),
        )
    }
    write_json(home / "dvc.yaml", {"stages": stages})

    def run(pipeline: str, day: int, *names: str) -> None:
        for name in names:
            dep, out = stages[name]["deps"][0], stages[name]["outs"][0]
            (home / out).write_text(f"{out} of {pipeline}")
            inputs = {dep: digest(home / dep)}
            started = f"2026-01-0{day}T00:00:00+00:00"
            ids = {"record_id": f"{pipeline}-{name}", "pipeline_id": pipeline}
            leave(name, outputs={out: ""}, inputs=inputs, started=started, **ids)

    return run


def test_cached_stages_are_named_on_the_pipelines_page(home: Path, client: Any, run_chain: Any):
    """A new pipeline whose filter was cached lists the run of the former pipeline that made it."""
    run_chain("a", 1, "filter", "embed", "train")
    flush(home)
    made_by = json.loads((home / ".work/tracked/a-filter.json").read_text())
    run_chain("b", 2, "embed", "train")
    flush(home)
    filtered, embedded, trained = page(client, "b")
    assert filtered == f"- filter: cached, made by [filter: cow sheep hill …]({made_by['url']})"
    assert embedded.startswith("- embed: ran [embed: cow sheep hill …](http")
    assert trained.startswith("- train: ran [")


def test_a_pipeline_whose_other_stages_are_cached_has_ended_with_its_first(
    home: Path, client: Any, leave: Any, run_chain: Any
):
    """Filter gives what it gave before, so nothing behind it has anything left to do."""
    run_chain("a", 1, "filter", "embed", "train")
    about = {"record_id": "b-filter", "pipeline_id": "b", "started": "2026-01-02T00:00:00+00:00"}
    inputs = {"photos": digest(home / "photos")}
    leave("filter", outputs={"selection": ""}, inputs=inputs, **about)
    assert flush(home).sent == 4
    (parent,) = [run for run in runs(client, "pipeline") if run.data.tags["pipeline_id"] == "b"]
    assert parent.info.status == "FINISHED"


def test_stages_behind_a_failed_one_are_not_called_cached(
    home: Path, client: Any, leave: Any, run_chain: Any
):
    """Records of a former pipeline, whose inputs are not what this one made, are not its own."""
    run_chain("a", 1, "filter", "embed", "train")
    run_chain("b", 2, "filter")
    (home / "reports/records/embed.json").unlink()  # as DVC does before it runs a stage
    times = {"pipeline_id": "b", "started": "2026-01-02T00:01:00+00:00"}
    failed = leave("embed", status="failed", error={"kind": "data"}, record_id="b-embed", **times)
    write_json(home / ".work/failures/embed.json", failed)
    assert flush(home).sent == 5
    words = [" ".join(line.split()[1:3]) for line in page(client, "b")]
    assert words == ["filter: ran", "embed: failed", "train: not"]
    assert page(client, "b")[2] == "- train: not reached"


def test_a_late_record_does_not_list_what_a_later_pipeline_made(
    home: Path, client: Any, run_chain: Any
):
    """Sent after the workspace has moved on, a record leaves its pipeline's page as it was."""
    run_chain("a", 1, "filter")
    flush(home)
    before = page(client, "a")
    run_chain("a", 1, "embed")
    run_chain("b", 2, "filter", "embed", "train")
    assert flush(home).sent == 4
    assert page(client, "a") == before
    assert before[1:] == ["- embed: not reached", "- train: not reached"]


def test_an_isolated_run_lists_the_records_of_its_own_workspace(
    home: Path, client: Any, leave: Any, run_chain: Any
):
    """What the main checkout holds is no part of a run with a workspace of its own."""
    run_chain("a", 1, "filter", "embed", "train")
    flush(home)
    isolated = home / ".work" / "runs" / "horses"
    record = {**leave("filter", pipeline_id="b", record_id="b-filter"), "root": str(isolated)}
    write_json(isolated / "dvc.yaml", json.loads((home / "dvc.yaml").read_text()))
    write_json(isolated / "reports/records/filter.json", record)
    write_json(home / ".work/outbox/b-filter.json", record)
    flush(home)
    assert page(client, "b")[1:] == ["- embed: not reached", "- train: not reached"]


def test_a_word_that_says_neither_on_nor_off_is_told_once(
    home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """Tracking stays on, and one line says why."""
    leave("filter")
    monkeypatch.setenv("BUCOLIC_TRACKING", "banana")
    assert flush(home).sent == 1
    leave("shard")
    assert flush(home).sent == 1
    said = "BUCOLIC_TRACKING is 'banana', which is neither on nor off: taken as on"
    assert caplog.messages.count(said) == 1


def test_tracking_can_be_switched_off(home: Path, leave: Any, monkeypatch: pytest.MonkeyPatch):
    """BUCOLIC_TRACKING=off sends nothing and keeps the record."""
    leave("filter")
    monkeypatch.setenv("BUCOLIC_TRACKING", "off")
    assert flush(home) == Delivery(0, 1, "BUCOLIC_TRACKING switches tracking off")
    assert len(list((home / ".work" / "outbox").iterdir())) == 1


def test_curves_of_a_stage_that_could_not_stream_come_from_its_file(
    home: Path, client: Any, leave: Any, weights: Callable[[int], str]
):
    """curves.jsonl is sent with images seen as the x axis, each phase by itself as streamed."""
    weights(0)
    leave("train", outputs={"models/current": ""})
    flush(home)
    (run,) = runs(client, "stage")
    for phase, scale in (("autoencoder", 1.0), ("prior", 2.0)):
        history = client.get_metric_history(run.info.run_id, f"{phase}/loss")
        points = [(metric.step, metric.value) for metric in history]
        assert points == [(step, scale / step) for step in (10, 20, 30)]


def test_a_run_whose_process_was_killed_is_ended(home: Path, client: Any, leave: Any):
    """A run left RUNNING by a process that is gone becomes KILLED, and no other host's does."""
    store = open_store(home)
    record = leave("filter")
    run_id = store.run_of({**record, "record_id": "other"})
    client.set_tag(run_id, "process", this_process().replace(str(os.getpid()), NO_PROCESS))
    now = datetime.now(UTC).isoformat()
    elsewhere = store.run_of({**leave("shard"), "record_id": "elsewhere", "started": now})
    client.set_tag(elsewhere, "process", "0123abcd-4194304")
    flush(home)
    assert client.get_run(run_id).info.status == "KILLED"
    assert client.get_run(elsewhere).info.status == "RUNNING"

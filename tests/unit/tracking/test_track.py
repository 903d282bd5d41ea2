"""`bucolic track`: what it says, and its exit code."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bucolic.cli import main
from bucolic.tracking.mlflow_store import open_store


@pytest.fixture
def track(home: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the verb in a project whose HOME is itself."""
    (home / "dvc.yaml").touch()
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    monkeypatch.chdir(home)

    def run() -> Result:
        return CliRunner().invoke(main, ["track"])

    return run


def test_what_was_sent_is_counted(leave: Any, track: Any):
    """Then nothing waits, and it says so."""
    leave("filter")
    leave("shard")
    assert track().output.endswith("2 records sent to MLflow\n")
    again = track()
    assert (again.exit_code, again.output) == (0, "MLflow holds every record already\n")


def test_what_mlflow_has_lost_is_sent_again(database: Path, home: Path, leave: Any, track: Any):
    """Its database was made anew: the notes of what was sent are wrong, the checkout has it all."""
    leave("filter")
    leave("shard")
    assert track().exit_code == 0
    shutil.copyfile(database, home / "mlflow.db")
    assert track().output.endswith("2 records sent to MLflow\n")
    assert {"filter", "shard"} == {
        run.data.tags["stage"] for run in open_store(home).find(kind="stage")
    }
    assert track().output.endswith("MLflow holds every record already\n")


def test_a_run_that_was_deleted_by_hand_stays_deleted(home: Path, leave: Any, track: Any):
    """It was somebody's wish, and the run can still be restored."""
    leave("filter")
    assert track().exit_code == 0
    store = open_store(home)
    store.client.delete_run(store.find(kind="stage")[0].info.run_id)
    assert track().output == "MLflow holds every record already\n"
    assert store.find(kind="stage") == []


def test_with_mlflow_away_it_does_not_say_that_all_is_there(
    leave: Any, track: Any, monkeypatch: pytest.MonkeyPatch
):
    """Nothing is known to wait, and nobody can be asked."""
    leave("filter")
    assert track().exit_code == 0
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = track()
    assert done.exit_code == 75
    assert "bucolic: records may wait: " in done.output
    assert "holds every record" not in done.output


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "a-plain-folder", "databricks", "odd://x"])
def test_with_mlflow_away_it_says_how_many_wait(
    leave: Any, track: Any, monkeypatch: pytest.MonkeyPatch, uri: str
):
    """One line with the number and the reason, exit 75, and the record still there."""
    record = leave("filter")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    done = track()
    assert done.exit_code == 75
    assert "holds every record" not in done.output
    (line,) = [line for line in done.output.splitlines() if line.startswith("bucolic:")]
    assert line.startswith("bucolic: 1 record waits: ")
    assert Path(f".work/outbox/{record['record_id']}.json").exists()


def test_switched_off_it_says_so(leave: Any, track: Any, monkeypatch: pytest.MonkeyPatch):
    """BUCOLIC_TRACKING=off is a reason as any other."""
    leave("filter")
    monkeypatch.setenv("BUCOLIC_TRACKING", "off")
    done = track()
    assert done.exit_code == 75
    assert done.output == "bucolic: 1 record waits: BUCOLIC_TRACKING switches tracking off\n"


def test_a_page_that_cannot_be_made_undoes_no_stage(home: Path, caplog: pytest.LogCaptureFixture):
    """A torn figure is one warning after evaluate, which names the file; `report` fails on it."""
    from bucolic.cli import _try_to_render

    (home / "dvc.yaml").write_text("stages: {evaluate: {cmd: x}}")
    (home / "reports/records").mkdir(parents=True)
    (home / "reports/records/evaluate.json").write_text('{"torn": ')
    _try_to_render(home)
    (line,) = [record.getMessage() for record in caplog.records if record.name == "bucolic.cli"]
    assert str(home / "reports/records/evaluate.json") in line
    assert line.endswith("`bucolic report` tries again")

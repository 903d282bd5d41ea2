"""What a run looks like to a person."""

import json
from pathlib import Path
from typing import Any

from bucolic.pipeline.stage_run import Outcome
from bucolic.pipeline.summary import result_page, stage_table, status_line
from bucolic.pipeline.workspace import Workspace

RECORD: dict[str, Any] = {
    "record_id": "r1",
    "started": "2026-01-02T03:04:05+00:00",
    "rows": {"in": 3, "out": 2, "failed": 1},
    "keywords": ["cow", "sheep"],
}
STAGES = ["filter", "train", "evaluate"]


def outcomes() -> dict[str, Outcome]:
    """A cached filter, a train that failed, an evaluate that was not reached."""
    return {
        "filter": Outcome("filter", "cached", 1.26, RECORD),
        "train": Outcome("train", "failed", 2.0, message="out of memory"),
    }


def test_every_stage_is_a_row(tmp_path: Path):
    """The table has a row for each stage of the graph; a tracked one links to its MLflow run."""
    tracked = tmp_path / ".work" / "tracked"
    tracked.mkdir(parents=True)
    (tracked / "r1.json").write_text(json.dumps({"url": "http://localhost/run"}))
    rows = stage_table(STAGES, outcomes(), tmp_path)
    assert [row["status"] for row in rows] == ["cached", "failed", "not reached"]
    assert rows[0]["seconds"] == 1.3
    assert rows[0]["rows failed"] == 1
    assert rows[0]["started (UTC)"] == "2026-01-02 03:04:05"
    assert rows[0]["MLflow run"] == "http://localhost/run"


def test_a_run_that_mlflow_does_not_have_yet_is_named_by_its_record(tmp_path: Path):
    """Without an address the record's id stands in its place."""
    assert stage_table(STAGES, outcomes(), tmp_path)[0]["MLflow run"] == "r1"


def test_headline_counts(tmp_path: Path):
    """One line says how many stages ended how."""
    assert status_line(STAGES, outcomes()) == "1 cached, 1 failed, 1 not reached"


def test_null_metrics_are_left_out_and_bounds_stand_beside(tmp_path: Path):
    """A metric that does not apply makes no row; a bound that lacks one shows a dash."""
    figures = {
        "metrics": {"psnr_db": 20.5, "r_precision": None},
        "bounds": {"real": {"psnr_db": None}, "mean_image": {"psnr_db": 12}},
    }
    done = {"evaluate": Outcome("evaluate", "ran", 1.0, {**RECORD, "figures": figures})}
    workspace = Workspace(tmp_path, tmp_path, "cow-12345678")
    page = result_page(workspace, done, tmp_path, tmp_path / "none.html")
    assert page.startswith("# cow, sheep\n")
    assert "| metric | model | Test image | Mean image |" in page  # as the report calls them
    assert "| Reconstruction PSNR, dB | **20.5** | – | 12 |" in page
    assert "R-precision" not in page
    assert "`dvc exp apply cow-12345678`" in page
    assert "none.html" not in page

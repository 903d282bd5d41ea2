"""A record in MLflow's words."""

from typing import Any

import pytest

from bucolic.tracking import described

RECORD: dict[str, Any] = {
    "stage": "train",
    "record_id": "r1",
    "pipeline_id": "p1",
    "started": "2026-01-02T03:04:05+00:00",
    "duration_s": 1.5,
    "rows": {"in": 10, "out": 9, "failed": 1},
    "keywords": ["cow", "sheep"],
    "params": {"train": {"lr": 5e-4, "betas": [0.9, 0.99], "name": "x"}},
    "inputs": {"data/shards": "0123456789abcdef0123456789abcdef.dir", "gone": None},
    "figures": {"metrics": {"psnr_db": 20.0, "fid": None, "ok": True}, "best at 5%": 2},
    "git": None,
}


def test_names_are_for_people():
    """A run is called by its stage and first keywords; more than three end in an ellipsis."""
    many = {**RECORD, "keywords": ["a", "b", "c", "d"]}
    assert described.run_name(RECORD) == "train: cow sheep"
    assert described.run_name(many) == "train: a b c …"
    assert described.parent_name(RECORD) == "cow sheep @ no commit"


def test_metrics_are_the_numbers_only():
    """Numbers of rows and figures are flattened; null, text and truth values are left out."""
    assert described.metrics(RECORD) == {
        "duration_s": 1.5,
        "rows/in": 10,
        "rows/out": 9,
        "rows/failed": 1,
        "metrics/psnr_db": 20.0,
        "best at 5_": 2,
    }


def test_params_are_text():
    """Params are dotted keys with JSON values, text as it is."""
    expected = {"train.lr": "0.0005", "train.betas": "[0.9, 0.99]", "train.name": "x"}
    assert described.params(RECORD) == expected


def test_digests_fit_and_missing_inputs_are_left_out():
    """A folder's digest of 36 characters is kept whole."""
    expected = {"data/shards": "0123456789abcdef0123456789abcdef.dir"}
    assert described.datasets(RECORD) == expected


def test_times_are_utc_milliseconds():
    """Start and end come from the record, not from the clock of the sender."""
    assert described.started_ms(RECORD) == 1767323045000
    assert described.ended_ms(RECORD) - described.started_ms(RECORD) == 1500


@pytest.mark.parametrize("name", ["git.dirty", "prefect.flow_run_id", "device"])
def test_unknown_things_make_no_tag(name: str):
    """What a record does not say is absent, never the word None; dirty defaults to false."""
    tags = described.tags(RECORD)
    assert tags.get(name) in {None, "false"}
    assert "None" not in tags.values()

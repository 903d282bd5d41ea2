"""A record in MLflow's words."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
        "best at 5_-d50b3f26": 2,
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


NAMES = st.text(st.characters(exclude_categories=[]), max_size=300) | st.sampled_from(
    ["", ".", "..", "/", "a/", "/a", "./a", "a//b", "../a", "...", "a/./b", "C:\\a\\b", "x" * 300]
)


@settings(deadline=None)
@given(NAMES)
def test_every_name_is_made_one_that_mlflow_takes(name: str):
    """MLflow's own checks pass, 250 bytes are enough, and a name that passes stays as it is."""
    from mlflow.exceptions import MlflowException
    from mlflow.utils.validation import _validate_metric, _validate_param, _validate_tag

    fit = described.fit_name(name)
    _validate_metric(fit, 1.0, 0, 0)
    _validate_param(fit, "")
    _validate_tag(fit, "")
    assert len(fit.encode()) <= 250
    try:
        _validate_tag(name, "")
    except MlflowException:
        assert fit != name
    else:
        assert fit == name or len(name.encode()) > 250 or name[0] == "." or "\n" in name


@settings(deadline=None)
@given(st.lists(NAMES, unique=True, max_size=20))
def test_different_names_never_become_one(names: list[str]):
    """No value takes the place of another's."""
    assert len({described.fit_name(name) for name in names}) == len(names)


@settings(deadline=None)
@given(NAMES, st.integers(0, 50))
def test_every_text_is_made_one_that_a_database_takes(text: str, limit: int):
    """UTF-8 without NUL, not over the limit."""
    fit = described.fit_text(text, limit)
    assert "\0" not in fit
    assert fit == fit.encode().decode()
    assert len(fit) <= limit


@pytest.mark.parametrize("root", ["my-coco", "my-coco/", "./my-coco", "x/../my-coco//"])
def test_a_data_set_is_called_the_same_however_its_path_is_written(root: str):
    """Tags and data sets of a record do not depend on how dataset.root is spelt."""
    record = {**RECORD, "inputs": {root: "d1"}}
    assert described.tags(record)["input.my-coco"] == "d1"
    assert described.datasets(record) == {"my-coco": "d1"}


def test_a_number_that_no_database_holds_is_no_metric():
    """An integer beyond every float is left out, and the others stay."""
    record = {**RECORD, "figures": {"huge": 10**400, "fine": 2**70}}
    assert described.metrics(record)["fine"] == 2.0**70
    assert "huge" not in described.metrics(record)

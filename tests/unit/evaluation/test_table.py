"""A metric that is declared, and nothing else, is measured, compared and shown."""

import json
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from bucolic.evaluation import table
from bucolic.evaluation.document import document, headline
from bucolic.evaluation.figures import Figure, Figures
from bucolic.evaluation.scores import Exam, Sitting, measured
from bucolic.evaluation.study import Study, on_held_out_combinations, on_ordinary_prompts
from bucolic.pipeline.record import SCHEMA
from bucolic.pipeline.table import NAMES
from bucolic.reporting.report_page import render
from bucolic.seeing.jury import Views
from bucolic.seeing.prompts import choose_prompts
from project import ROOT

MODULE = "metric_of_a_test"


def brightness(sitting: Sitting) -> Figures:
    """Mean grey level of the pictures."""
    return {"brightness": Figure(float(np.mean(sitting.views.pictures)))}


@pytest.fixture(autouse=True)
def declared(monkeypatch: pytest.MonkeyPatch) -> table.Metric:
    """One more metric, in a module of its own."""
    module = ModuleType(MODULE)
    module.brightness = brightness  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, MODULE, module)
    metric = table.Metric(
        name="brightness",
        label="Brightness",
        better="nearer to 1 is better",
        meaning="Mean grey level.",
        of="prompts",
        function=f"{MODULE}:brightness",
        decimals=1,
        is_headline=True,
    )
    monkeypatch.setattr(table, "METRICS", (*table.METRICS, metric))
    return metric


def test_a_declared_metric_is_measured_compared_and_shown(study: Study, tmp_path: Path):
    """It stands in evaluate.json for every arm, in DVC's headline and in the report's row."""
    ordinary, held_out = on_ordinary_prompts(study), on_held_out_combinations(study)
    found = document(ordinary, held_out, study.jury, {"test_images": 9})
    assert 0 < found["metrics"]["brightness"] < 255
    assert set(found["bounds"]) == {n for n, arm in found["bounds"].items() if arm["brightness"]}
    real = found["bounds"]["real"]["brightness"]
    assert headline(found)["brightness"] == {
        "model": found["metrics"]["brightness"],
        "real": real,
    }
    (tmp_path / "dvc.yaml").write_text((ROOT / "dvc.yaml").read_text())
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "reports/records").mkdir(parents=True)
    for name in NAMES:
        (tmp_path / f"reports/records/{name}.json").write_text(json.dumps({"schema": SCHEMA}))
    (tmp_path / "models/current").mkdir(parents=True)
    (tmp_path / "models/current/config.json").write_text("{}")
    (tmp_path / "reports/evaluate.json").write_text(json.dumps(found))
    page = render(tmp_path).read_text()
    assert "Brightness" in page
    assert f"{real:.1f}" in page


@pytest.mark.parametrize("figure", [Figure(float("inf")), Figure(float("nan"))])
def test_a_value_that_is_no_finite_number_is_null_with_a_reason(
    study: Study, monkeypatch: pytest.MonkeyPatch, figure: Figure
):
    """A ratio to something that is 0 in one arm does not end the whole evaluation."""
    monkeypatch.setattr(sys.modules[MODULE], "brightness", lambda _: {"brightness": figure})
    found = document(
        on_ordinary_prompts(study), on_held_out_combinations(study), study.jury, {"test_images": 9}
    )
    assert found["metrics"]["brightness"] is None
    assert found["reasons"]["bounds.real.brightness"] == "its value is no finite number"
    json.dumps(found, allow_nan=False)


def test_an_interval_without_an_end_is_left_out(study: Study, monkeypatch: pytest.MonkeyPatch):
    """The value stands by itself, and the document can be written."""
    endless = Figure(0.5, interval=(0.1, float("inf")))
    monkeypatch.setattr(sys.modules[MODULE], "brightness", lambda _: {"brightness": endless})
    found = document(
        on_ordinary_prompts(study), on_held_out_combinations(study), study.jury, {"test_images": 9}
    )
    assert found["metrics"]["brightness"] == 0.5
    assert "metrics.brightness" not in found["counts"]["intervals"]
    json.dumps(found, allow_nan=False)


def test_no_metric_of_prompts_is_asked_without_any(study: Study):
    """A declared one that could not bear it has a reason in place of a value, as all the others."""
    prompts = choose_prompts(study.test, study.attributes, limit=3).take(np.arange(0))
    views = Views(np.empty((0, 3, 16, 16), np.uint8), np.empty((0, 12), np.float32), {})
    nothing = np.empty(0, np.int64)
    exam = Exam(prompts, study.test.caption_vectors, nothing, nothing, True, 0)
    found = measured(Sitting(views, exam), "prompts")
    assert {figure.reason for figure in found.values()} == {"there is no prompt to judge"}
    assert set(found) == set(table.names("prompts"))

"""In how many processes a stage runs: as many CUDA devices as can share its batches."""

from pathlib import Path

import pytest
import torch

from bucolic.base.errors import ParamsError
from bucolic.pipeline import launch
from bucolic.pipeline.table import NAMES, STAGES
from bucolic.presets import preset_text

TRAIN, EMBED = STAGES[NAMES.index("train")], STAGES[NAMES.index("embed")]


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was launched, in a project of preset tiny, batches of 32 and 32, with five devices."""
    (tmp_path / "params.yaml").write_text(preset_text("tiny"))
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(launch, "_launch", lambda *call: calls.append(call) or 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    for name in ("BUCOLIC_PROCESSES", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_as_many_devices_as_divide_every_batch_are_used(
    launched: list[tuple[str, int]], tmp_path: Path
):
    """Of five devices four can share batches of 32 rows; what cannot share is left alone."""
    assert launch.run_in_processes(TRAIN, tmp_path) == 0
    assert launch.run_in_processes(EMBED, tmp_path) is None
    assert launched == [("train", 4)]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("BUCOLIC_DEVICE", "cpu"),
        ("BUCOLIC_DEVICE", "cuda:1"),
        ("BUCOLIC_PROCESSES", "1"),
        ("TORCHELASTIC_RUN_ID", "7"),
    ],
)
def test_one_process_is_right_where_one_is_asked_for(
    launched: list[tuple[str, int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: str,
):
    """A named device, a number, or a torchrun that is there already: nothing is launched."""
    monkeypatch.setenv(name, value)
    assert launch.run_in_processes(TRAIN, tmp_path) is None
    assert launched == []


def test_a_kind_that_needs_whole_batches_is_trained_by_one_process(
    launched: list[tuple[str, int]], tmp_path: Path
):
    """dl-fp's BatchNorm computes with the statistics of whole batches."""
    text = preset_text("tiny")
    start, end = text.index("\nmodel:"), text.index("\ntrain:")
    (tmp_path / "params.yaml").write_text(f"{text[:start]}\nmodel:\n  kind: dlfp\n{text[end:]}")
    assert launch.run_in_processes(TRAIN, tmp_path) is None
    assert launched == []


@pytest.mark.parametrize("value", ["0", "two", "1000", "-1"])
def test_a_number_that_is_none_is_refused(
    launched: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
):
    """In one line that says what to set."""
    monkeypatch.setenv("BUCOLIC_PROCESSES", value)
    with pytest.raises(ParamsError, match="set a whole number from 1 to 999"):
        launch.run_in_processes(TRAIN, tmp_path)
    assert launched == []

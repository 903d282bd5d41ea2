"""In how many processes a stage runs: as many CUDA devices as can share its batches."""

from pathlib import Path

import pytest
import torch

from bucolic.base.errors import ParamsError
from bucolic.pipeline import launch
from bucolic.pipeline.table import NAMES, STAGES, Declared
from bucolic.presets import preset_text

TRAIN, EMBED = STAGES[NAMES.index("train")], STAGES[NAMES.index("embed")]


def run(stage: Declared, root: Path) -> int | None:
    """As the verb does, of code whose digests do not matter here."""
    return launch.run_in_processes(stage, root, {})


@pytest.fixture
def launched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What was launched, in a project of preset tiny with wide batches, and with five devices."""
    text = preset_text("tiny").replace("\ntrain:\n", "\ntrain:\n  batch_size: 64\n")
    (tmp_path / "params.yaml").write_text(text)
    calls: list[tuple[str, int]] = []
    monkeypatch.setattr(launch, "_launch", lambda *call: calls.append(call) or 0)
    monkeypatch.setattr(launch, "_must_be_made", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 5)
    for name in ("BUCOLIC_PROCESSES", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_as_many_devices_as_divide_every_batch_are_used(
    launched: list[tuple[str, int]], tmp_path: Path
):
    """Of five devices four can share batches of 64 rows; what cannot share is left alone."""
    assert run(TRAIN, tmp_path) == 0
    assert run(EMBED, tmp_path) is None
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
    assert run(TRAIN, tmp_path) is None
    assert launched == []


def test_a_kind_that_needs_whole_batches_is_trained_by_one_process(
    launched: list[tuple[str, int]], tmp_path: Path
):
    """dl-fp's BatchNorm computes with the statistics of whole batches."""
    text = preset_text("tiny")
    start, end = text.index("\nmodel:"), text.index("\ntrain:")
    (tmp_path / "params.yaml").write_text(f"{text[:start]}\nmodel:\n  kind: dlfp\n{text[end:]}")
    assert run(TRAIN, tmp_path) is None
    assert launched == []


@pytest.mark.parametrize(
    ("section", "processes"), [("batch_size: 32", 2), ("batch_size: 24", None)]
)
def test_a_device_is_not_asked_for_a_handful_of_rows(
    launched: list[tuple[str, int]], tmp_path: Path, section: str, processes: int | None
):
    """Each process is to have sixteen rows of a batch or more."""
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("batch_size: 64", section))
    run(TRAIN, tmp_path)
    assert launched == ([] if processes is None else [("train", processes)])


def test_steps_that_are_compiled_are_one_process_s(launched: list[tuple[str, int]], tmp_path: Path):
    """Compiled and shared at once has not been shown."""
    path = tmp_path / "params.yaml"
    path.write_text(path.read_text().replace("batch_size: 64", "batch_size: 64\n  compiled: true"))
    assert run(TRAIN, tmp_path) is None
    assert launched == []


def test_more_processes_than_devices_are_refused(
    launched: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Two on one card would not be what was asked for."""
    monkeypatch.setenv("BUCOLIC_PROCESSES", "6")
    with pytest.raises(ParamsError, match="is 6, of CUDA devices there are 5"):
        run(TRAIN, tmp_path)
    monkeypatch.setenv("BUCOLIC_DEVICE", "cuda:1")
    with pytest.raises(ParamsError, match="is 6, of CUDA devices there are 1"):
        run(TRAIN, tmp_path)
    assert launched == []


@pytest.mark.parametrize("value", ["0", "two", "1000", "-1"])
def test_a_number_that_is_none_is_refused(
    launched: list[tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str
):
    """In one line that says what to set."""
    monkeypatch.setenv("BUCOLIC_PROCESSES", value)
    with pytest.raises(ParamsError, match="set a whole number from 1 to 999"):
        run(TRAIN, tmp_path)
    assert launched == []

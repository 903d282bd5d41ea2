"""The workplace of a stage: how many workers, and what is said of the device."""

import logging
import os
from pathlib import Path

import pytest
import torch

from bucolic.base import control_groups, device
from bucolic.base.device import choose_device
from bucolic.base.errors import ParamsError
from bucolic.base.runtime import Runtime, default_workers, usable_cpus


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing was said, and no variable is set."""
    device._say.cache_clear()
    for name in ("BUCOLIC_WORKERS", "BUCOLIC_DEVICE", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)


def groups(folder: Path, monkeypatch: pytest.MonkeyPatch, listed: str, **files: str) -> None:
    """Lay control groups out as the kernel shows them; `__` in a name stands for a slash."""
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("cpu_", "cpu.")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    (folder / "self").write_text(listed)
    monkeypatch.setattr(control_groups, "LISTED", folder / "self")
    monkeypatch.setattr(control_groups, "MOUNT", folder)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(range(16)), raising=False)


def test_workers_are_the_cpus_of_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Taskset on a machine of many CPUs counts."""
    groups(tmp_path, monkeypatch, "")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: {3, 5, 7})
    assert 3 == usable_cpus() == Runtime(tmp_path, tmp_path).workers


@pytest.mark.parametrize(
    ("listed", "files", "cpus"),
    [
        ("0::/a/b\n", {"a__b__cpu_max": "max 100000", "a__cpu_max": "250000 100000"}, 3),
        ("0::/a/b\n", {"a__b__cpu_max": "200000 100000", "a__cpu_max": "400000 100000"}, 2),
        ("0::/\n", {"cpu_max": "50000 100000"}, 1),
        ("0::/the/hosts\n", {"cpu_max": "400000 100000"}, 4),
        (
            "4:cpu,cpuacct:/x\n1:name=systemd:/x\n",
            {"cpu__x__cpu_cfs_quota_us": "500000", "cpu__x__cpu_cfs_period_us": "100000"},
            5,
        ),
        (
            "4:cpu,cpuacct:/x\n",
            {"cpu__x__cpu_cfs_quota_us": "-1", "cpu__x__cpu_cfs_period_us": "100000"},
            16,
        ),
        ("0::/a\n", {"a__cpu_max": "garbage"}, 16),
    ],
)
def test_workers_keep_to_the_quota_of_the_control_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: str, files: dict[str, str], cpus: int
):
    """`docker run --cpus`, of either version, anywhere above the process; at least one worker."""
    groups(tmp_path, monkeypatch, listed, **files)
    assert cpus == usable_cpus()


def test_bucolic_workers_overrides(monkeypatch: pytest.MonkeyPatch):
    """It is taken as it is, and an empty one is none."""
    monkeypatch.setenv("BUCOLIC_WORKERS", " 7 ")
    assert 7 == default_workers()
    monkeypatch.setenv("BUCOLIC_WORKERS", "")
    assert usable_cpus() == default_workers()


@pytest.mark.parametrize("value", ["0", "-1", "2.5", "many", "1e3", "٣", "99999"])
def test_a_wrong_number_of_workers_is_named(monkeypatch: pytest.MonkeyPatch, value: str):
    """Anything but a whole number from 1 is refused by the variable's name."""
    monkeypatch.setenv("BUCOLIC_WORKERS", value)
    with pytest.raises(ParamsError, match=r"BUCOLIC_WORKERS is .*: set a whole number from 1"):
        default_workers()


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
def test_the_device_is_said_once(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """One line a process, however often the device is chosen."""
    monkeypatch.setattr(device, "NVIDIA", ())
    with caplog.at_level(logging.INFO, "bucolic"):
        assert ("cpu", "cpu") == (choose_device(), choose_device())
    assert [f"device: cpu (threads: {torch.get_num_threads()})"] == caplog.messages


@pytest.mark.skipif(torch.cuda.is_available(), reason="of machines without a GPU")
@pytest.mark.parametrize(
    ("cuda", "visible", "reason"),
    [
        (None, None, "is built without CUDA"),
        ("13.0", "", "CUDA_VISIBLE_DEVICES is '', which hides it"),
        ("13.0", "-1", "CUDA_VISIBLE_DEVICES is '-1', which hides it"),
        ("13.0", None, "Torch not compiled with CUDA enabled"),
    ],
)
def test_an_nvidia_device_that_goes_unused_is_a_warning(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    cuda: str | None,
    visible: str | None,
    reason: str,
):
    """One line with the reason, and the work goes on; whoever asked for cpu hears nothing."""
    if torch.version.cuda is not None and reason.startswith("Torch"):
        pytest.skip("this torch is built with CUDA")
    monkeypatch.setattr(device, "NVIDIA", (tmp_path,))
    monkeypatch.setattr(torch.version, "cuda", cuda)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with caplog.at_level(logging.WARNING, "bucolic"):
        assert "cpu" == choose_device("cpu")
        assert [] == caplog.messages
        assert "cpu" == choose_device()
    assert 1 == len(caplog.messages)
    assert caplog.messages[0].startswith("an NVIDIA device is there and is not used: ")
    assert reason in caplog.text
    with pytest.raises(ParamsError, match=r"device 'cuda' is not there \(.+\): choose auto"):
        choose_device("cuda")

"""Whether a GPU does what a CPU does, and how busy it is kept: every stage on meadow, in minutes.

    make gpu-check

- Every stage runs on the device, train in fp32 and in bf16 with small budgets; their held-out
  losses stand side by side.
- A training that is stopped half-way and goes on is held against one that was not.
- Speed of the preset coco2017's networks in each arithmetic, as a share of what square matrix
  products reach, and of the maker's figure where it is known (MFU).

Figures go into bench/results/gpu.json. With --device cpu it checks itself where there is no GPU.
"""

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bucolic.base.device import choose_device
from bucolic.base.errors import ParamsError
from bucolic.base.report import NoSink
from bucolic.base.runtime import Runtime
from bucolic.pipeline.params import Params
from recorded import ROOT, clean_commit, record
from scratch import OF_MODEL, home_of, make_data, params_of, runtime
from train_speed import phases_of

# Dense bf16 of the makers' data sheets, FLOP/s.
PEAKS_BF16 = {"H100": 989e12, "H200": 989e12, "A100": 312e12, "L4": 121e12, "A10": 125e12}
ARITHMETICS = {
    "fp32": {"precision": "fp32"},
    "tf32": {"precision": "tf32"},
    "bf16": {"precision": "bf16"},
    "bf16, compiled": {"precision": "bf16", "compiled": True},
}
BUDGETS = {"autoencoder_images": 8000, "prior_images": 16000, "validations": 4}


class StoppedError(Exception):
    """Stands for a kill."""


class StoppingSink(NoSink):
    """Stops a training at the second validation of its first phase."""

    def __init__(self) -> None:
        self.left = 2

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:  # noqa: ARG002
        """Count validations down."""
        self.left -= 1
        if not self.left:
            raise StoppedError


def main() -> None:
    """Check one device, and record what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--share", type=float, default=1.0, help="of the budgets")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/gpu.json")
    arguments = parser.parse_args()
    out, commit = arguments.out.resolve(), clean_commit()
    os.environ["BUCOLIC_DEVICE"] = device = _device(arguments.device)
    home, params = home_of("meadow", f"gpu-{commit}"), params_of("meadow")
    make_data(home, params)
    small = {name: max(4, round(images * arguments.share)) for name, images in BUDGETS.items()}
    found = {
        "device": device,
        "trained": {name: _trained(home, params, small, name) for name in ("fp32", "bf16")},
        "resumed": _resumed(home, params, small),
        "speed": {
            name: _speed(device, change, arguments.share) for name, change in ARITHMETICS.items()
        },
    }
    record(out, found)
    print(json.dumps(found, indent=1))


def _device(asked: str) -> str:
    try:
        return choose_device(asked)
    except ParamsError as error:
        sys.exit(str(error))


def _trained(home: Path, params: Params, small: dict[str, int], precision: str) -> dict[str, Any]:
    """Seconds of train and evaluate, held-out losses and headline figures."""
    folder = _folder(home, precision)
    changed = _changed(params, small | {"precision": precision})
    found: dict[str, Any] = {}
    for stage in OF_MODEL:
        start_s = time.monotonic()
        summary = stage.run(changed, runtime(folder), home)
        found[f"{stage.name}_s"] = round(time.monotonic() - start_s, 1)
        found[stage.name] = dict(summary.headline or summary.figures)
    return found


def _resumed(home: Path, params: Params, small: dict[str, int]) -> dict[str, Any]:
    """The largest difference of a held-out value between one training and two halves."""
    curves = []
    for name, stops in (("whole", False), ("halves", True)):
        folder = _folder(home, name)
        changed = _changed(params, small | {"precision": "fp32"})
        if stops:
            stopped = Runtime(folder / ".work", folder / ".cache", sink=StoppingSink())
            with contextlib.suppress(StoppedError):
                OF_MODEL[0].run(changed, stopped, home)
        OF_MODEL[0].run(changed, runtime(folder), home)
        lines = (folder / "models/current/curves.jsonl").read_text().splitlines()
        curves.append([json.loads(line)["val_loss"] for line in lines])
    apart = max(abs(a - b) for a, b in zip(*curves, strict=True))
    return {"validations": len(curves[0]), "largest_difference_of_val_loss": apart}


def _speed(device: str, change: dict[str, Any], share: float) -> dict[str, Any]:
    """Both phases of preset coco2017, with MFU where the maker's figure is known."""
    steps = max(2, round(60 * share))
    found = phases_of("coco2017", device, change, steps=steps)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else ""
    peak = next((peak for known, peak in PEAKS_BF16.items() if known in name), None)
    for phase in found.values():
        flop_per_s = phase["images_per_s"] * phase["mflop_per_image"] * 1e6
        phase["mfu"] = flop_per_s / peak if peak and change["precision"] == "bf16" else None
    return found


def _folder(home: Path, name: str) -> Path:
    """A folder that shares the data; the current one from here on."""
    folder = home / name
    (folder / "reports").mkdir(parents=True, exist_ok=True)
    (folder / "data").is_symlink() or (folder / "data").symlink_to(home / "data")
    os.chdir(folder)
    return folder


def _changed(params: Params, change: dict[str, Any]) -> Params:
    """Params with another train section, and as few prompts as R-precision needs."""
    asked = params.evaluate.model_copy(update={"prompts": 200, "draws": 1})
    trained = params.train.model_copy(update=change)
    return params.model_copy(update={"train": trained, "evaluate": asked})


if __name__ == "__main__":
    main()

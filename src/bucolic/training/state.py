"""Checkpoints of one phase: everything that the next step depends on, in one safetensors file.

PHASE-NNNNNNNNNNNN.safetensors holds `weights/`, `average/`, `best/` and `optimiser/` tensors; its
header holds, as JSON, how many images were seen, the best validation loss, the curves so far, and
the seconds that it took.
The random state is not stored: draws are a function of the images seen. The last two files are
kept, so a damaged one costs one interval.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from bucolic.base.errors import as_transient
from bucolic.base.files import remove, replacing

KEPT = 2
HEADER = "state"
logger = logging.getLogger(__name__)
Tensors = dict[str, Tensor]


@dataclass
class PhaseState:
    """How far a phase is.

    Attributes:
        images_seen: training images seen in this phase.
        best_loss: lowest validation loss so far.
        curves: one dictionary for each validation, as they go to curves.jsonl.
        sums: sums of the steps' values since the last validation.
        summed_steps: how many steps these are.
        noise_drawn_on: the kind of device that the batches' noise is drawn on.
        precision: of the steps' products.
        spent_s: seconds that went into it, over all executions.
    """

    images_seen: int = 0
    best_loss: float = float("inf")
    curves: list[dict[str, Any]] = field(default_factory=list)
    sums: dict[str, float] = field(default_factory=dict)
    summed_steps: int = 0
    noise_drawn_on: str = "cpu"
    precision: str = "fp32"
    spent_s: float = field(default=0.0, compare=False)  # which decides nothing

    def add(self, values: Mapping[str, float]) -> None:
        """Take the values of one step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0.0) + value
        self.summed_steps += 1

    def take_means(self) -> dict[str, float]:
        """Means of the steps' values since the last call, as `step_NAME`."""
        means = {f"step_{name}": total / self.summed_steps for name, total in self.sums.items()}
        self.sums, self.summed_steps = {}, 0
        return means


def write_checkpoint(
    folder: Path, phase: str, progress: PhaseState, groups: Mapping[str, Tensors]
) -> None:
    """Write a checkpoint atomically and remove all but the last two of this phase."""
    tensors = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, members in groups.items()
        for name, tensor in members.items()
    }
    path = folder / f"{phase}-{progress.images_seen:012d}.safetensors"
    with replacing(path) as temporary:
        save_file(tensors, temporary, metadata={HEADER: json.dumps(vars(progress))})
    for old in _checkpoints(folder, phase)[:-KEPT]:
        remove(old)


def read_checkpoint(folder: Path, phase: str) -> tuple[PhaseState, dict[str, Tensors]] | None:
    """Read the newest whole checkpoint of a phase; None where there is none."""
    for path in reversed(_checkpoints(folder, phase)):
        try:
            return _read(path)
        except (SafetensorError, OSError, ValueError, LookupError, TypeError) as error:
            if passing := as_transient(error, str(path)):
                raise passing from None
            logger.warning("%s is damaged (%s): the one before it is used", path, error)
    return None


def optimiser_tensors(optimisers: Sequence[torch.optim.Optimizer]) -> Tensors:
    """The optimisers' states by optimiser, parameter number and name."""
    return {
        f"{place}/{number}/{name}": tensor
        for place, optimiser in enumerate(optimisers)
        for number, state in optimiser.state_dict()["state"].items()
        for name, tensor in state.items()
    }


def restore_optimisers(optimisers: Sequence[torch.optim.Optimizer], tensors: Tensors) -> None:
    """Put stored tensors back into optimisers built over the same parameters."""
    for place, optimiser in enumerate(optimisers):
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        states: dict[int, Tensors] = {}
        for key, tensor in tensors.items():
            of, number, name = key.split("/")
            if int(of) == place:
                stored = _laid_out_like(parameters[int(number)], tensor)
                states.setdefault(int(number), {})[name] = stored
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": states, "param_groups": groups})


def _laid_out_like(parameter: Tensor, stored: Tensor) -> Tensor:
    """A copy in the parameter's memory layout, which a fused optimiser takes for granted."""
    if stored.shape != parameter.shape:
        return stored.clone()
    return torch.empty_like(parameter, dtype=stored.dtype, device=stored.device).copy_(stored)


def _checkpoints(folder: Path, phase: str) -> list[Path]:
    return sorted(folder.glob(f"{phase}-[0-9]*.safetensors"))


def _read(path: Path) -> tuple[PhaseState, dict[str, Tensors]]:
    groups: dict[str, Tensors] = {}
    with path.open("rb"):
        pass  # safetensors tells every failure to open as a missing file; this tells which it is
    with safe_open(path, framework="pt") as file:
        progress = PhaseState(**json.loads(file.metadata()[HEADER]))
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            group, name = key.split("/", 1)
            groups.setdefault(group, {})[name] = file.get_tensor(key)
    return progress, groups

"""How fast the two phases of preset meadow train here, beside what the machine's matrix units do.

    python bench/train_speed.py --out bench/results/train.json

The data are noise of the preset's shapes: speed does not depend on what pictures show. All figures
come from one run: the machine's peak is that of square matrix products just before each phase, a
step's operations are counted by torch, and the loop's own share is the time that drawing batches
and logging take of it.
"""

import argparse
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bucolic.base.device import choose_device, choose_precision, products_in
from bucolic.models.cvae.config import CvaeTrainConfig
from bucolic.models.phases import Phase
from bucolic.planning.operations import (
    embed_dim,
    matrix_flop_per_s,
    now_s,
    phases_on_noise,
    step_flops,
)
from bucolic.training.build import recipe_of
from bucolic.training.distributed import World
from bucolic.training.loop import Trainer
from recorded import ROOT, clean_commit, record
from scratch import params_of

ROWS = 512
MATRIX_S = 3.0
SKIPPED = 3  # first steps, which are slower
Timed = Callable[..., Any]


def main() -> None:
    """Measure both phases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/train.json")
    parser.add_argument("--steps", type=int, default=60, help="of each phase")
    parser.add_argument("--device", default="auto")
    arguments = parser.parse_args()
    clean_commit()
    device = choose_device(arguments.device)
    phases = phases_of("meadow", device, steps=arguments.steps)
    record(arguments.out, {"device": device, "steps": arguments.steps, "phases": phases})
    for name, found in phases.items():
        print(name, found)


def phases_of(
    preset: str, device: str, change: Mapping[str, Any] | None = None, *, steps: int
) -> dict[str, dict[str, Any]]:
    """What is measured of each phase of a preset.

    Args:
        preset: its name.
        device: a torch device.
        change: keys of the section `train` with other values.
        steps: of each phase.
    """
    params = params_of(preset)
    train = params.train.model_copy(update=change or {})
    train = train.model_copy(update={"precision": choose_precision(train.precision, device)})
    phases = phases_on_noise(
        params.model,
        train,
        size_px=params.shard.size_px,
        embed_dim=embed_dim(params.clip.model),
        device=device,
        rows=ROWS,
    )
    with products_in(train.precision):
        return {name: _measured(phase, train, steps, device) for name, phase in phases.items()}


def _measured(
    phase: Phase[Any], train: CvaeTrainConfig, steps: int, device: str
) -> dict[str, float | str]:
    """One phase's speed, as the loop runs it."""
    clock = _Stopwatch(device)
    recipe = recipe_of(train, phase.name)
    images = (steps + SKIPPED) * recipe.batch_size
    precision = train.precision
    peak = matrix_flop_per_s(device, precision, MATRIX_S)
    recipe = replace(recipe, images=images, precision=precision)
    trainer = Trainer(replace(phase, draw=clock.around("draw", phase.draw)), recipe, World())
    trainer.progress.add = clock.around("log", trainer.progress.add)  # type: ignore[method-assign]
    started_s = []
    for _ in range(steps + SKIPPED):
        started_s.append(clock.now_s())
        trainer.advance()
    step_s = (clock.now_s() - started_s[SKIPPED]) / steps
    own_s = sum(sum(spent[SKIPPED:]) for spent in clock.spent_s.values()) / steps
    flops = step_flops(phase, recipe.batch_size)
    return {
        "precision": recipe.precision,
        "batch_size": recipe.batch_size,
        "images_per_s": recipe.batch_size / step_s,
        "loop_share": own_s / step_s,
        "mflop_per_image": flops / recipe.batch_size / 1e6,
        "matrix_gflop_per_s": peak / 1e9,
        "share_of_matrix_peak": flops / step_s / peak,
    }


class _Stopwatch:
    """Takes the time of calls, the device's work included."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.spent_s: dict[str, list[float]] = {}

    def now_s(self) -> float:
        """Seconds, once the device has nothing left to do."""
        return now_s(self.device)

    def around(self, name: str, function: Timed) -> Timed:
        """The function, its time taken."""

        def timed(*arguments: Any) -> Any:
            start_s = self.now_s()
            found = function(*arguments)
            self.spent_s.setdefault(name, []).append(self.now_s() - start_s)
            return found

        return timed


if __name__ == "__main__":
    main()

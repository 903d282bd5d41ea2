"""The training loop of one phase: draw, step, average, validate, keep; the same for all networks.

Progress is counted in images. A run that was killed goes on from its last checkpoint and ends with
the weights of an undisturbed one, bit for bit on a CPU with as many threads and processes.
"""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, cast

import torch
from torch import Tensor, nn

from bucolic.base.errors import ParamsError
from bucolic.base.report import Sink
from bucolic.models.config import point_name
from bucolic.models.phases import Moment, Network, Phase
from bucolic.training.clock import Clock
from bucolic.training.data import share_of
from bucolic.training.distributed import World
from bucolic.training.draws import drawing_device
from bucolic.training.ema import DECAY, RunningAverage
from bucolic.training.optimiser import optimisers
from bucolic.training.state import (
    PhaseState,
    optimiser_tensors,
    read_checkpoint,
    restore_optimisers,
    write_checkpoint,
)

logger = logging.getLogger(__name__)
LR_WARMUP_SHARE = 0.05
LR_FINAL_SHARE = 0.01
# Steps between two looks at their values: to look, one waits until the device is done.
READ_EVERY = {"cuda": 50, "mps": 50}
BACKEND = "inductor"


@dataclass(frozen=True)
class Recipe:
    """How one network is trained.

    Attributes:
        images: budget in training images seen; rounded up to whole batches.
        batch_size: images in a step, over all processes.
        lr: peak of the learning rate.
        schedule: "cosine" after a linear warm-up over 5 % of the budget, or "constant".
        optimiser: "muon" for large matrices and kernels, or "adamw" for all parameters.
        beta2: decay of Adam's second moment.
        weight_decay: decoupled, of weight matrices and kernels only.
        gradient_norm: gradients are scaled down to this norm.
        precision: "bf16" for autocast; any other is the affair of who calls.
        compiled: whether torch.compile makes kernels for a step.
        averaged: validate and keep a running average of the weights, not the weights.
        validations: how often, evenly spread, they are validated.
    """

    images: int
    batch_size: int
    lr: float
    schedule: str
    optimiser: str
    beta2: float
    weight_decay: float
    gradient_norm: float
    precision: str
    compiled: bool
    averaged: bool
    validations: int

    @property
    def steps(self) -> int:
        """Optimiser steps in the budget."""
        return math.ceil(self.images / self.batch_size)

    def lr_at(self, step: int) -> float:
        """The learning rate of step `step`."""
        if self.schedule == "constant":
            return self.lr
        warmup = max(1, round(LR_WARMUP_SHARE * self.steps))
        if step < warmup:
            return self.lr * (step + 1) / warmup
        done = (step - warmup) / max(1, self.steps - warmup)
        cosine = 0.5 * (1 + math.cos(math.pi * done))
        return self.lr * (LR_FINAL_SHARE + (1 - LR_FINAL_SHARE) * cosine)

    def validates_after(self, step: int) -> bool:
        """Whether a validation follows the step that made `step` steps."""
        places = (
            step * self.validations // self.steps,
            (step - 1) * self.validations // self.steps,
        )
        return places[0] != places[1]


@contextmanager
def _compiling(recipe: Recipe) -> Iterator[None]:
    """A step whose kernels torch may make: forwards when it is first made, or on its way back.

    Raises:
        ParamsError: nothing could be compiled here.
    """
    if not recipe.compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException  # noqa: PLC0415 - takes seconds to import

    try:
        yield
    except TorchDynamoException as error:
        reason = " ".join(str(error).split())[:200]
        raise ParamsError(
            f"torch.compile fails here ({reason}): set train.compiled to false"
        ) from error


class Trainer(Generic[Network]):
    """The moving parts of a phase: network, average, optimiser, progress.

    `resumed_s` is how many seconds earlier executions spent on what a run went on from.
    """

    def __init__(self, phase: Phase[Network], recipe: Recipe, world: World) -> None:
        self.phase, self.recipe, self.world = phase, recipe, world
        self.network = phase.network
        wrapped = world.wrap(phase.objective)
        self.objective = torch.compile(wrapped, backend=BACKEND) if recipe.compiled else wrapped
        self.device = next(self.network.parameters()).device.type
        self.noise_drawn_on = drawing_device(self.device)
        self.progress = PhaseState(noise_drawn_on=self.noise_drawn_on, precision=recipe.precision)
        self.resumed_s = self.started_s = 0.0
        self.unread: list[tuple[int, list[str], Tensor]] = []
        self.average = self._average()
        self.best = self._averaged_tensors()
        self.optimisers = optimisers(
            self.network,
            muon=recipe.optimiser == "muon",
            beta2=recipe.beta2,
            weight_decay=recipe.weight_decay,
        )

    def _average(self) -> RunningAverage:
        decay = DECAY if self.recipe.averaged else 0.0
        return RunningAverage(self.network, updates=self.step, decay=decay)

    @property
    def averaged(self) -> Network:
        """The network with averaged weights."""
        return cast("Network", self.average.module)

    @property
    def step(self) -> int:
        """Optimiser steps made."""
        return self.progress.images_seen // self.recipe.batch_size

    def run(self, folder: Path, sink: Sink, clock: Clock | None = None) -> PhaseState:
        """Train to the end of the budget and leave the best averaged weights in the network."""
        self._resume(folder)
        self.resumed_s = self.progress.spent_s
        self.started_s = time.monotonic()
        sink.start(self.progress.images_seen)
        clock = clock or Clock()
        while self.step < self.recipe.steps:
            self.advance()
            if self.recipe.validates_after(self.step):
                self._validate(sink)
            if self.world.leads and (clock.due() or self.step == self.recipe.steps):
                self._save(folder)
                self._show(sink)
                clock.start()
        self.network.load_state_dict(self.best)
        self.phase.finish()
        return self.progress

    def advance(self) -> None:
        """Make one optimiser step."""
        recipe, step = self.recipe, self.step
        batch = self.phase.draw(self.progress.images_seen, recipe.batch_size)
        self.network.zero_grad(set_to_none=True)
        bf16 = recipe.precision == "bf16"
        with _compiling(recipe):
            with torch.autocast(self.device, dtype=torch.bfloat16, enabled=bf16):
                loss, values = self.objective(
                    share_of(batch, self.world.rank, self.world.size), Moment(step, recipe.steps)
                )
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), recipe.gradient_norm)
        values = {**values, "loss": loss.detach(), "gradient_norm": norm.detach()}
        self.unread.append((self.progress.images_seen, list(values), self._of_batch(values)))
        if len(self.unread) >= READ_EVERY.get(self.device, 1):
            self._read_values()
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = recipe.lr_at(step)
            optimiser.step()
        self.average.update_parameters(self.network)
        self.progress.images_seen += recipe.batch_size

    def _of_batch(self, values: Mapping[str, Tensor]) -> Tensor:
        """The values of one step, [names], of the whole batch and not of this process's share."""
        return self.world.mean(torch.stack([value.float() for value in values.values()]))

    def _read_values(self) -> None:
        """Fetch the values of the last steps from the device, which has to finish them first.

        Raises:
            ParamsError: a gradient was not finite. Where values are read at every step, the weights
                are as they were before it; where they are not, nothing was written since.
        """
        unread, self.unread = self.unread, []
        for images_seen, names, values in unread:
            read = dict(zip(names, values.tolist(), strict=True))
            self._stop_unless_finite(images_seen, read)
            self.progress.add(read)

    def _stop_unless_finite(self, images_seen: int, values: Mapping[str, float]) -> None:
        if not math.isfinite(values["gradient_norm"]):
            raise ParamsError(
                f"training the {self.phase.name} diverged after {images_seen} images (loss "
                f"{values['loss']:.4g}, gradient norm {values['gradient_norm']:.4g}): "
                f"lower train.{self.phase.name}_lr"
            )

    def _validate(self, sink: Sink) -> None:
        """Log held-out values beside the interval's means; keep the weights if they are best.

        Raises:
            ParamsError: a value is no number, so which weights are best cannot be told.
        """
        self._read_values()
        found = self.phase.validate(self.averaged) | self.progress.take_means()
        if strange := [name for name, value in found.items() if not math.isfinite(value)]:
            seen, name = self.progress.images_seen, strange[0]
            raise ParamsError(
                f"validating the {self.phase.name} after {seen} images gave no number ({name} is "
                f"{found[name]}): lower train.{self.phase.name}_lr"
            )
        if found["val_loss"] < self.progress.best_loss:
            self.progress.best_loss = found["val_loss"]
            self.best = self._averaged_tensors()
        seen = self.progress.images_seen
        self.progress.curves.append({"phase": self.phase.name, "images_seen": seen} | found)
        if self.world.leads:
            sink.log(seen, {point_name(self.phase.name, name): v for name, v in found.items()})

    def _averaged_tensors(self) -> dict[str, Tensor]:
        return {name: t.detach().clone() for name, t in self.averaged.state_dict().items()}

    def _show(self, sink: Sink) -> None:
        sink.show(
            self.phase.name,
            self.progress.images_seen,
            self.recipe.steps * self.recipe.batch_size,
            lambda: self.phase.show(self.averaged),
        )

    def _save(self, folder: Path) -> None:
        self._read_values()
        self.progress.spent_s = self.resumed_s + time.monotonic() - self.started_s
        groups = {
            "weights": self.network.state_dict(),
            "average": self.averaged.state_dict(),
            "best": self.best,
            "optimiser": optimiser_tensors(self.optimisers),
        }
        write_checkpoint(folder, self.phase.name, self.progress, groups)

    def _require_same_numbers(self) -> None:
        """Refuse a checkpoint of other noise or arithmetic: the rest would be another training's.

        Raises:
            ParamsError: naming both.
        """
        if (former := self.progress.precision) != self.recipe.precision:
            raise ParamsError(
                f"training the {self.phase.name} began in {former}, and would go on in "
                f"{self.recipe.precision}: go on where {former} is computed, with params.yaml as "
                "it is, or start anew (bucolic clean)"
            )
        if self.progress.noise_drawn_on != self.noise_drawn_on:
            former, present = self.progress.noise_drawn_on, self.noise_drawn_on
            raise ParamsError(
                f"training the {self.phase.name} began with noise of {former}, and would go on "
                f"with that of {present}: set BUCOLIC_DEVICE={former} or start anew (bucolic clean)"
            )

    def _resume(self, folder: Path) -> None:
        found = read_checkpoint(folder, self.phase.name)
        self.world.wait()
        if found is None:
            return
        self.progress, groups = found
        self._require_same_numbers()
        self.network.load_state_dict(groups["weights"])
        self.average = self._average()
        self.averaged.load_state_dict(groups["average"])
        for name, tensor in self.best.items():
            tensor.copy_(groups["best"][name])
        restore_optimisers(self.optimisers, groups["optimiser"])
        seen, budget = self.progress.images_seen, self.recipe.images
        logger.info("%s: goes on from %d of %d images", self.phase.name, seen, budget)

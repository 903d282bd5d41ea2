import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.backends.common import aot_autograd
from torch._inductor.exc import InductorError
from torch.fx import GraphModule

from bucolic.base.errors import ParamsError
from bucolic.base.sheet import Sheet
from bucolic.models.phases import END, Batch, Moment, Phase
from bucolic.training import loop
from bucolic.training.clock import Clock
from bucolic.training.distributed import World
from bucolic.training.draws import generator
from bucolic.training.loop import Recipe, Trainer
from bucolic.training.optimiser import LEAST_SIDE
from bucolic.training.state import read_checkpoint

RECIPE = Recipe(
    optimiser="muon",
    images=640,
    batch_size=16,
    lr=0.05,
    schedule="cosine",
    beta2=0.99,
    weight_decay=0.01,
    gradient_norm=1.0,
    precision="fp32",
    compiled=False,
    averaged=True,
    validations=4,
)


class KilledError(Exception):
    """Stands for a kill."""


class Sink:
    """Keeps what it is told, and stops the run at one image count."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.values: dict[int, Mapping[str, float]] = {}
        self.shown: list[tuple[str, int, int]] = []
        self.stop_at = stop_at

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Keep the values, or stop."""
        if images_seen == self.stop_at:
            raise KilledError
        self.values[images_seen] = values

    def start(self, images_seen: int) -> None:
        """Nothing is measured here."""

    def show(self, phase: str, images_seen: int, images: int, draw: Callable[[], Sheet]) -> None:
        """Keep how far the phase was when it was shown."""
        assert draw() == []
        self.shown.append((phase, images_seen, images))


class Squared(nn.Module):
    """Mean squared error of a linear network against a fixed linear map."""

    def __init__(self, network: nn.Linear) -> None:
        super().__init__()
        self.network = network

    def forward(self, batch: Batch, moment: Moment) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss, and the weight as a value to log."""
        loss = (self.network(batch.conditions) - batch.conditions.flip(1)).square().mean()
        return loss, {"done": torch.tensor(moment.step / moment.steps)}


def make_phase(scale: float = 1.0) -> Phase[nn.Linear]:
    """A phase on inputs of a given size."""
    torch.manual_seed(0)
    network = nn.Linear(LEAST_SIDE, LEAST_SIDE)  # Muon's weight, AdamW's bias

    def draw(seen: int, count: int) -> Batch:
        conditions = scale * torch.randn(count, LEAST_SIDE, generator=generator(0, "toy", seen))
        nothing = torch.zeros(count)
        return Batch(nothing, nothing, conditions, nothing, nothing, nothing)

    def validate(network: nn.Linear) -> dict[str, float]:
        with torch.no_grad():
            return {"val_loss": float(Squared(network)(draw(-1, 64), END)[0])}

    return Phase("toy", network, Squared(network), draw, validate, lambda _: [])


def run(folder: Path, sink: Sink, interval_s: float = 1e9) -> tuple[nn.Linear, Trainer[nn.Linear]]:
    """Train the toy network to its end."""
    phase = make_phase()
    trainer = Trainer(phase, RECIPE, World())
    trainer.run(folder, sink, Clock(interval_s))
    return phase.network, trainer


def test_training_learns_and_spends_its_budget(tmp_path: Path):
    """The held-out loss falls far, the budget is spent, and validations are spread over it."""
    sink = Sink()

    _, trainer = run(tmp_path, sink)

    assert list(sink.values) == [160, 320, 480, 640]
    assert sink.shown == [("toy", 640, 640)]
    assert trainer.progress.images_seen == 640
    assert len(trainer.optimisers) == 2
    losses = [values["toy/val_loss"] for values in sink.values.values()]
    assert losses[-1] < 0.25 * losses[0]
    assert all(row["step_gradient_norm"] > 0 for row in trainer.progress.curves)


@pytest.mark.parametrize("stop_at", [160, 480])
def test_a_killed_run_ends_like_an_undisturbed_one(tmp_path: Path, stop_at: int):
    """Stopped at any validation and started again, weights and curves are equal to the last bit."""
    whole, whole_trainer = run(tmp_path / "whole", Sink())
    with pytest.raises(KilledError):
        run(tmp_path / "killed", Sink(stop_at), interval_s=0)

    again, again_trainer = run(tmp_path / "killed", Sink(), interval_s=0)

    assert torch.equal(whole.weight, again.weight)
    assert whole_trainer.progress == again_trainer.progress


def test_a_finished_phase_is_not_trained_again(tmp_path: Path):
    """Run again, a finished phase gives its best weights at once."""
    first, _ = run(tmp_path, Sink())
    sink = Sink()

    second, _ = run(tmp_path, sink)

    assert torch.equal(first.weight, second.weight)
    assert sink.values == {}


def test_the_best_validated_weights_are_the_ones_kept(tmp_path: Path):
    """When later validations are worse, the network ends with the weights of the best one."""
    phase = make_phase()
    seen: list[Tensor] = []

    def validate(network: nn.Linear) -> dict[str, float]:
        seen.append(network.weight.detach().clone())
        return {"val_loss": [3.0, 1.0, 2.0, 4.0][len(seen) - 1]}

    worsening = Phase("toy", phase.network, phase.objective, phase.draw, validate, phase.show)
    progress = Trainer(worsening, RECIPE, World()).run(tmp_path, Sink())

    assert torch.equal(seen[1], phase.network.weight)
    assert progress.best_loss == 1.0


def test_a_loss_that_is_no_number_stops_the_run_before_it_spoils_the_weights(tmp_path: Path):
    """The message says which network, when, and what to lower; the weights are still finite."""
    phase = make_phase(scale=1e30)

    with pytest.raises(ParamsError, match=r"toy diverged after 0 images.*lower train.toy_lr"):
        Trainer(phase, RECIPE, World()).run(tmp_path, Sink())
    assert phase.network.weight.isfinite().all()


def test_the_learning_rate_rises_then_falls():
    """Linear to its peak over a twentieth, then along a cosine to a hundredth."""
    rates = [RECIPE.lr_at(step) for step in range(RECIPE.steps)]

    assert RECIPE.steps == 40
    assert rates[:2] == [0.025, 0.05]
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[21] == pytest.approx(0.05 * (0.01 + 0.99 / 2), rel=1e-6)
    assert rates[-1] < 0.02 * 0.05


def test_weights_that_are_not_averaged_are_kept_themselves(tmp_path: Path):
    """What is validated and kept is the network of that moment."""
    recipe = replace(RECIPE, averaged=False, schedule="constant")
    phase = make_phase()
    trainer = Trainer(phase, recipe, World())
    for _ in range(3):
        trainer.advance()
        assert torch.equal(trainer.averaged.weight, phase.network.weight)
    assert {0.05} == {recipe.lr_at(step) for step in range(recipe.steps)}


@pytest.mark.parametrize(("images", "validations"), [(640, 4), (100, 7), (16, 5)])
def test_validations_are_as_many_as_asked_and_the_last_one_is_at_the_end(
    images: int, validations: int
):
    """Never more than one a step, and always one after the last step."""
    recipe = Recipe(**(vars(RECIPE) | {"images": images, "validations": validations}))

    places = [step for step in range(1, recipe.steps + 1) if recipe.validates_after(step)]

    assert len(places) == min(validations, recipe.steps)
    assert places[-1] == recipe.steps


def test_a_compiled_step_trains_the_same_weights(
    tmp_path: Path, captured_graphs: list[GraphModule]
):
    """What torch captures of the objective, and of its way back, is all there is to it."""
    weights = []
    for compiled in (False, True):
        phase = make_phase()
        Trainer(phase, replace(RECIPE, compiled=compiled), World()).run(
            tmp_path / str(compiled), Sink()
        )
        weights.append(phase.network.weight.detach())
        assert bool(captured_graphs) == compiled
    torch.testing.assert_close(weights[1], weights[0], rtol=1e-5, atol=1e-7)


def fails(*_: object) -> None:
    """A backend as on a machine that has no C compiler."""
    raise InductorError(RuntimeError("no C compiler"), None)


@pytest.mark.parametrize(
    "backend",
    [fails, aot_autograd(fw_compiler=lambda graph, _: graph, bw_compiler=fails)],
    ids=["forwards", "on the way back"],
)
def test_where_nothing_can_be_compiled_one_line_says_so(
    backend: Callable[..., object], monkeypatch: pytest.MonkeyPatch
):
    """Torch compiles the way back when it is first taken."""
    monkeypatch.setattr(loop, "BACKEND", backend)
    trainer = Trainer(make_phase(), replace(RECIPE, compiled=True), World())
    with pytest.raises(ParamsError, match=r"no C compiler.*set train\.compiled to false"):
        trainer.advance()


def test_values_that_are_read_seldom_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A device is looked at every so many steps and before validations; nothing else changes."""
    often, seldom = Sink(), Sink()
    first = Trainer(make_phase(), RECIPE, World())
    first.run(tmp_path / "often", often)
    monkeypatch.setitem(loop.READ_EVERY, "cpu", 7)
    second = Trainer(make_phase(), RECIPE, World())
    second.run(tmp_path / "seldom", seldom)

    assert often.values == seldom.values
    assert torch.equal(first.network.weight, second.network.weight)


def test_a_divergence_that_is_seen_late_has_written_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The checkpoint and the validation wait for the values of all steps before them."""
    monkeypatch.setitem(loop.READ_EVERY, "cpu", 1000)

    with pytest.raises(ParamsError, match="toy diverged after 0 images"):
        Trainer(make_phase(scale=1e30), RECIPE, World()).run(tmp_path, Sink(), Clock(interval_s=0))

    assert list(tmp_path.iterdir()) == []


def test_a_run_that_goes_on_knows_what_was_spent_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Seconds of the executions before it, as its checkpoint has them; a first one has none."""
    ticks_s = itertools.count(step=2.0)
    monkeypatch.setattr(loop, "time", SimpleNamespace(monotonic=lambda: next(ticks_s)))
    with pytest.raises(KilledError):
        run(tmp_path, Sink(480), interval_s=0)
    kept, _ = read_checkpoint(tmp_path, "toy") or (None, None)
    assert kept is not None
    assert kept.spent_s > 0

    trainer = Trainer(make_phase(), RECIPE, World())
    ended = trainer.run(tmp_path, Sink())
    assert trainer.resumed_s == kept.spent_s
    assert ended.spent_s > kept.spent_s

    first = Trainer(make_phase(), RECIPE, World())
    first.run(tmp_path / "first", Sink())
    assert first.resumed_s == 0


def test_a_run_does_not_go_on_with_other_noise_than_it_began_with(tmp_path: Path):
    """A GPU's noise is other numbers than the CPU's; the line says which, and what to do."""
    with pytest.raises(KilledError):
        run(tmp_path, Sink(480), interval_s=0)
    trainer = Trainer(make_phase(), RECIPE, World())
    trainer.noise_drawn_on = "cuda"

    with pytest.raises(ParamsError, match="noise of cpu, and would go on with that of cuda"):
        trainer.run(tmp_path, Sink())


def test_a_run_does_not_go_on_in_other_arithmetic_than_it_began_in(tmp_path: Path):
    """`precision: auto` differs between the machines that share a folder of partial work."""
    with pytest.raises(KilledError):
        run(tmp_path, Sink(480), interval_s=0)
    trainer = Trainer(make_phase(), replace(RECIPE, precision="bf16"), World())

    with pytest.raises(ParamsError, match=r"began in fp32, .* in bf16: go on where fp32 is"):
        trainer.run(tmp_path, Sink())


def test_a_validation_that_gives_no_number_stops_the_run(tmp_path: Path):
    """Untrained weights would else be kept as the best; no checkpoint is left of it."""
    phase = replace(make_phase(), validate=lambda _: {"val_loss": float("nan")})

    with pytest.raises(ParamsError, match=r"validating the toy after 160 images gave no number"):
        Trainer(phase, RECIPE, World()).run(tmp_path, Sink(), Clock(1e9))

    assert list(tmp_path.iterdir()) == []

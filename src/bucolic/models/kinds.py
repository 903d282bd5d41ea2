"""The kinds of model that `model.kind` chooses from, each declared once.

Training, store, sampling, report and charts know a kind by its entry alone. The entry names what it
needs as `module:name`, so that reading params.yaml imports no network.
"""

from dataclasses import dataclass

from bucolic.base.errors import ParamsError
from bucolic.base.loading import loaded
from bucolic.models.config import DEFAULT_KIND

# Name to `module:name` of its entry.
KINDS = {
    "cvae": "bucolic.models.cvae.kind:KIND",
    "dlfp": "bucolic.models.dlfp.kind:KIND",
}


@dataclass(frozen=True)
class Curve:
    """A quantity that is measured on train and on val while a phase runs.

    Attributes:
        phase: the phase.
        quantity: its name in curves.jsonl, behind `train_` and `val_`.
        title: of its chart.
        better: "lower" or "higher".
    """

    phase: str
    quantity: str
    title: str
    better: str


@dataclass(frozen=True)
class Kind:
    """One kind of model; places are `module:name`.

    Attributes:
        config: of its `model` section, a `ModelConfig`.
        training: of its `train` section, a `TrainConfig` with PHASE_images and PHASE_lr.
        build: of a function from (section, size_px=, embed_dim=) to an untrained `Model`.
        plan: of a function from its `model` section to a `phases.Plan`.
        reached: of a function from the best validation of each phase to figures of
            reports/train.json.
        curves: what the report draws, in order.
        side_multiple_px: what the side of a picture must be a multiple of.
    """

    config: str
    training: str
    build: str
    plan: str
    reached: str
    curves: tuple[Curve, ...]
    side_multiple_px: int = 1


def kind_named(name: str = DEFAULT_KIND) -> Kind:
    """The entry of a kind.

    Raises:
        ParamsError: there is none of this name.
    """
    if name not in KINDS:
        raise ParamsError(f"model.kind: {name!r} is none of {', '.join(sorted(KINDS))}")
    kind: Kind = loaded(KINDS[name])
    return kind

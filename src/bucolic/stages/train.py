"""train: shards in, models/current/ out; the phases of a kind of model, one after the other.

reports/sampling.json says how guidance and steps were chosen: what val's pictures are worth with
each candidate.
"""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bucolic.base.files import replacing, write_json
from bucolic.base.loading import loaded
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.models.config import ModelConfig, TrainConfig
from bucolic.models.kinds import kind_named
from bucolic.seeing.clip.config import ClipConfig

logger = logging.getLogger(__name__)
AUXILIARY = ("detail_weight", "alignment_weight")  # of losses beside the likelihood
if TYPE_CHECKING:
    from torch.nn import Module

    from bucolic.data.shards import Split
    from bucolic.models.model import Model
    from bucolic.models.phases import Plan
    from bucolic.training.context import TrainingContext
    from bucolic.training.distributed import World
    from bucolic.training.guidance import Choice


@dataclass(frozen=True)
class Trained:
    """What came of the phases.

    Attributes:
        curves: their validations.
        networks: by phase.
        resumed_s: see `bucolic.base.report.Summary`.
    """

    curves: list[dict[str, Any]]
    networks: "dict[str, Module]"
    resumed_s: float


def train(  # noqa: PLR0913 - what it reads and writes, each by its name
    shards: Path,
    annotations: Path,
    out: Path,
    curves: Path,
    sampling: Path,
    *,
    model: ModelConfig,
    config: TrainConfig,
    runtime: Runtime,
) -> Summary:
    """Train the model on the train split; val chooses checkpoints, guidance and steps.

    Started by torchrun, all processes work on the same batches and the first one writes `out`.
    A run that was killed goes on from its last checkpoint in `runtime.work`.

    Args:
        shards: data/shards, see data/shards.py.
        annotations: folder of annotation files, read for the attributes of val's scenes alone.
        out: folder to write, see models/store.py.
        curves: folder to write, see training/curves.py.
        sampling: JSON file to write, see training/judge.py.
        model: kind and shapes of the networks.
        config: budgets and recipe.
        runtime: workplace.

    Raises:
        DataError: shards of another version, of an unfit size, or without train or val images.
        ParamsError: the kind is not known, the batch cannot be shared among the processes, or
            training diverged.
    """
    from bucolic.base.device import products_in
    from bucolic.training.build import read_data
    from bucolic.training.curves import reached, spent
    from bucolic.training.distributed import joined

    kind = kind_named(model.kind)
    plan: Plan = loaded(kind.plan)(model)
    _name_ignored(plan, model.kind, config)
    index, splits = read_data(shards, kind.side_multiple_px, runtime.work)
    clip = _clip_config(index.clip)
    device, config = _resolved(config, runtime)
    with joined(device) as world, products_in(config.precision):
        context, cosine = _begun(model, splits, config, clip, world, device)
        trained = _trained(plan, context, config, runtime)
        rows = trained.curves
        choice, judged = _chosen(context.model, splits["val"], annotations, clip, config, plan)
        details = spent(rows, trained.networks) | _judged_on(splits["val"], judged)
        details |= _machinery(device, world)
        if world.leads:
            about = _provenance(index.clip, clip, splits["train"])
            about |= {"training": _training(plan, config, details["images_seen"])}
            about |= {"sampling": asdict(choice.sampling)}
            _write(out, curves, context.model, about, rows, model.kind)
            write_json(sampling, judged)
        world.wait()
    images = sum(len(split.images) for split in splits.values())
    figures = reached(rows, kind, choice) | {"text_cosine": cosine}
    return Summary(
        Rows(images, images),
        figures,
        details=details,
        device=device,
        precision=config.precision,
        resumed_s=trained.resumed_s,
    )


def _resolved(config: TrainConfig, runtime: Runtime) -> tuple[str, TrainConfig]:
    """The device, and the config with the precision that it will compute in."""
    from bucolic.base.device import choose_device, choose_precision

    device = choose_device(runtime.device)
    precision = choose_precision(config.precision, device)
    return device, config.model_copy(update={"precision": precision})


def _begun(
    model: ModelConfig,
    splits: "dict[str, Split]",
    config: TrainConfig,
    clip: ClipConfig,
    world: "World",
    device: str,
) -> "tuple[TrainingContext, float]":
    """An untrained model on its device with the data, and the cosine of val's mapped texts."""
    from bucolic.seeing.clip.towers import load_towers
    from bucolic.training.build import chance_of, new_model, open_context

    network, cosine = new_model(kind_named(model.kind), model, splits, config.seed)
    chance = chance_of(config, network.noise_shape)
    context = open_context(
        network, splits, config, chance, world, device, lambda: load_towers(clip, device)
    )
    return context, cosine


def _write(
    out: Path,
    curves: Path,
    network: "Model",
    about: dict[str, Any],
    rows: list[dict[str, Any]],
    kind: str,
) -> None:
    from bucolic.models.store import write_model
    from bucolic.training.curves import write_curves

    with replacing(out) as folder:
        write_model(folder, network, about, rows, kind=kind)
    write_curves(curves, rows)


def _machinery(device: str, world: "World") -> dict[str, Any]:
    """What the last bits of a training hang on, besides its precision."""
    from bucolic.training.draws import drawing_device

    return {
        "processes": world.size,
        "noise_drawn_on": drawing_device(device).partition(":")[0],
    }


def _name_ignored(plan: "Plan", name: str, config: TrainConfig) -> None:
    """Say once which of the keys that are set change nothing."""
    if ignored := [f"train.{key}" for key in plan.ignored if key in config.model_fields_set]:
        logger.info("this model (%s) has no use for %s", name, ", ".join(ignored))


def _training(plan: "Plan", config: TrainConfig, images_seen: dict[str, int]) -> dict[str, Any]:
    """How a model was trained: its budgets, arithmetic, and losses beside the likelihood."""
    weights = {name: getattr(config, name, 0) for name in AUXILIARY if name not in plan.ignored}
    auxiliary = {name: weight for name, weight in weights.items() if weight}
    return {"precision": config.precision, "images_seen": images_seen, "auxiliary": auxiliary}


def _candidates(plan: "Plan", config: TrainConfig) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Guidances and steps to choose from: a single one where they change nothing."""
    guidances = (1.0,) if "guidances" in plan.ignored else config.guidances
    return guidances, (1,) if "steps" in plan.ignored else config.steps


def _provenance(towers: dict[str, Any], clip: ClipConfig, train: "Split") -> dict[str, Any]:
    """What config.json says of where a model comes from: its CLIP, and what it was trained on."""
    from bucolic.data.shards import content_digest

    return {
        "clip": towers,
        "clip_config": clip.model_dump(),
        "data": {"train": content_digest(train)},
    }


def _judged_on(val: "Split", judged: dict[str, Any]) -> dict[str, Any]:
    """Of what, and by whom, val's figures are: where these are equal, two models compare."""
    from bucolic.data.shards import content_digest

    return {
        "val_digest": content_digest(val),
        "val_prompts": judged["prompts"],
        "val_judge": judged["judge"],
    }


def _trained(
    plan: "Plan", context: "TrainingContext", config: TrainConfig, runtime: Runtime
) -> Trained:
    """Train the phases of a plan in their order."""
    from bucolic.training.build import recipe_of, require_shareable
    from bucolic.training.loop import Trainer

    rows: list[dict[str, Any]] = []
    networks: dict[str, Module] = {}
    resumed_s = 0.0
    recipes = {name: recipe_of(config, name) for name in plan.phases}
    for name, recipe in recipes.items():  # before the first of them spends its hours
        require_shareable(recipe, name, context.world, divisible=plan.divisible)
    for name, phase in plan.phases.items():
        trainer = Trainer(phase(context), recipes[name], context.world)
        rows += trainer.run(runtime.work, runtime.sink).curves
        networks[name] = trainer.network
        resumed_s += trainer.resumed_s
    return Trained(rows, networks, resumed_s)


def _chosen(
    network: "Model",
    val: "Split",
    annotations: Path,
    clip: ClipConfig,
    config: TrainConfig,
    plan: "Plan",
) -> "tuple[Choice, dict[str, Any]]":
    from bucolic.seeing.prompts import read_all_attributes
    from bucolic.training.judge import choose_on_val

    return choose_on_val(
        network.eval(),
        val,
        read_all_attributes(annotations),
        clip,
        candidates=_candidates(plan, config),
        limit=config.judged_prompts,
        seed=config.seed,
    )


def _clip_config(provenance: dict[str, Any]) -> ClipConfig:
    known = {name: provenance[name] for name in ("model", "pretrained", "precision")}
    known["pretrained_sha256"] = provenance["weights_sha256"]
    # The embed stage has refused, or been told to allow, a mismatch before.
    return ClipConfig(**known, allow_mismatch=True)

"""train: shards in, models/current/ out; the autoencoder first, then the prior over its latents."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from bucolic.base.config import Section
from bucolic.base.files import replacing
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.clip.config import ClipConfig
from bucolic.models.config import AutoencoderConfig, PriorConfig

if TYPE_CHECKING:
    from bucolic.training.data import Chance
    from bucolic.training.loop import Recipe

Share = Annotated[float, Field(ge=0, le=1)]


class ModelConfig(Section):
    """Shapes of the two networks; see models/config.py."""

    autoencoder: AutoencoderConfig = AutoencoderConfig()
    prior: PriorConfig = PriorConfig()


class TrainConfig(Section):
    """How the model is trained.

    Attributes:
        seed: of weights, batches and noise.
        precision: "fp32", or "bf16" for autocast on a GPU.
        autoencoder_images: budget of the first phase, in training images seen.
        prior_images: budget of the second phase.
        batch_size: images in a step, over all processes.
        autoencoder_lr: peak learning rate of the first phase.
        prior_lr: peak learning rate of the second phase.
        weight_decay: decoupled, as in AdamW.
        gradient_norm: gradients are scaled down to this norm.
        flip: mirror half of the pictures.
        condition_drop: share of rows trained without a condition, which guidance needs.
        text_share: share of rows conditioned on a caption, mapped as a prompt will be, in place
            of the picture's own embedding.
        validations: how often each phase is validated.
        guidances: candidates, chosen from on val; one candidate is taken as it is.
        steps: candidates for the number of Heun steps, chosen from on val.
        judged_prompts: val captions that the candidates are judged by.
    """

    seed: int = 0
    precision: Literal["fp32", "bf16"] = "fp32"
    autoencoder_images: PositiveInt = 24_000
    prior_images: PositiveInt = 40_000
    batch_size: PositiveInt = 32
    autoencoder_lr: PositiveFloat = 2e-3
    prior_lr: PositiveFloat = 1e-3
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_norm: PositiveFloat = 1.0
    flip: bool = True
    condition_drop: Share = 0.1
    text_share: Share = 0.5
    validations: PositiveInt = 10
    guidances: tuple[PositiveFloat, ...] = Field(default=(1.0, 1.5, 2.0, 3.0, 4.0), min_length=1)
    steps: tuple[PositiveInt, ...] = Field(default=(4, 8, 16), min_length=1)
    judged_prompts: PositiveInt = 128


def train(
    shards: Path,
    out: Path,
    curves: Path,
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
        out: folder to write, see models/store.py.
        curves: folder to write, see training/curves.py.
        model: shapes of the networks.
        config: budgets and recipe.
        runtime: workplace.

    Raises:
        DataError: shards of another version, of an unfit size, or without train or val images.
        ParamsError: the batch cannot be shared among the processes, or training diverged.
    """
    from bucolic.base.device import choose_device
    from bucolic.models.store import write_model
    from bucolic.training.build import new_generator, open_context, read_data
    from bucolic.training.curves import write_curves
    from bucolic.training.distributed import joined
    from bucolic.training.figures import reached
    from bucolic.training.judge import choose_on_val
    from bucolic.training.loop import Trainer
    from bucolic.training.phases import PHASES

    index, splits = read_data(shards)
    clip = _clip_config(index.clip)
    device = choose_device(runtime.device)
    with joined(device) as world:
        generator, cosine = new_generator(model.autoencoder, model.prior, splits, config.seed)
        chance = _chance(config, generator.latent_shape)
        context = open_context(generator, splits, chance, world, device)
        rows: list[dict[str, Any]] = []
        for name, phase in PHASES.items():
            trainer = Trainer(phase(context), _recipe(config, name), world)
            rows += trainer.run(runtime.work, runtime.sink).curves
        sampling = choose_on_val(
            generator,
            splits["val"],
            clip,
            guidances=config.guidances,
            steps=config.steps,
            prompts=config.judged_prompts,
            seed=config.seed,
        )
        figures = reached(rows, generator, sampling) | {"text_cosine": cosine}
        if world.leads:
            training = {"precision": config.precision, "images_seen": figures["images_seen"]}
            towers = {"clip": index.clip, "clip_config": clip.model_dump()}
            content = {**towers, "sampling": asdict(sampling), "training": training}
            with replacing(out) as folder:
                write_model(folder, generator, content, rows)
            write_curves(curves, rows)
        world.wait()
    images = sum(len(split.images) for split in splits.values())
    return Summary(Rows(images, images), figures, device=device, precision=config.precision)


def _chance(config: TrainConfig, latent_shape: tuple[int, int, int]) -> "Chance":
    from bucolic.training.data import Chance

    shares = (config.condition_drop, config.text_share)
    return Chance(config.seed, config.flip, *shares, latent_shape)


def _clip_config(provenance: dict[str, Any]) -> ClipConfig:
    known = {name: provenance[name] for name in ("model", "pretrained", "precision")}
    known["pretrained_sha256"] = provenance["weights_sha256"]
    # The embed stage has refused, or been told to allow, a mismatch before.
    return ClipConfig(**known, allow_mismatch=True)


def _recipe(config: TrainConfig, phase: str) -> "Recipe":
    from bucolic.training.loop import Recipe

    own = {"images": f"{phase}_images", "lr": f"{phase}_lr"}
    names = {field.name: own.get(field.name, field.name) for field in fields(Recipe)}
    return Recipe(**{field: getattr(config, name) for field, name in names.items()})

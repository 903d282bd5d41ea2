"""The beginning of training: an untrained model, and the data where it is trained."""

import math
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch

from bucolic.base.errors import DataError, ParamsError
from bucolic.base.loading import loaded
from bucolic.data.shards import ShardIndex, Split, read_index, read_split
from bucolic.models.config import ModelConfig, TrainConfig
from bucolic.models.kinds import Kind, kind_named
from bucolic.models.model import Model
from bucolic.models.phases import Plan
from bucolic.seeing.clip.towers import Towers
from bucolic.training.context import TrainingContext
from bucolic.training.data import Chance, pairs_of, training_data
from bucolic.training.distributed import World
from bucolic.training.loop import Recipe

LEAST_ROWS = 16  # of a batch for each process; a guess, not measured


def read_data(shards: Path, multiple_px: int, spill: Path) -> tuple[ShardIndex, dict[str, Split]]:
    """Read the index, and the splits that training looks at: train and val.

    Args:
        shards: folder of the shard stage.
        multiple_px: what the pictures' side must be a multiple of.
        spill: see `read_split`.

    Raises:
        DataError: shards of another version, of an unfit size, or a split without captions.
    """
    index = read_index(shards)
    if index.size_px % multiple_px:
        raise DataError(
            f"{shards}: pictures of {index.size_px} px, but the model needs a multiple of "
            f"{multiple_px}: set shard.size_px"
        )
    splits = {
        "train": read_split(shards, "train", spill),
        "val": read_split(shards, "val", spill),
    }
    for name, split in splits.items():
        if not len(split.captions):
            raise DataError(f"{shards}: {name} holds no captioned image: select more (filter)")
    return index, splits


def new_model(
    kind: Kind, config: ModelConfig, splits: Mapping[str, Split], seed: int
) -> tuple[Model, float]:
    """An untrained model whose conditioning is fitted on the splits' embeddings.

    The networks' weights depend on the seed and their shapes alone, whatever the text prior, and
    torch's own random state is left as it was.

    Returns:
        The model, and how near val's mapped texts come to their pictures (mean cosine).
    """
    size_px = splits["train"].images.shape[-1]
    embed_dim = splits["train"].image_vectors.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Model = loaded(kind.build)(config, size_px=size_px, embed_dim=embed_dim)
    pairs = pairs_of(splits["train"]), pairs_of(splits["val"])
    cosine = model.conditioning.fit(*pairs, seed)
    return model, cosine


def open_context(
    model: Model,
    splits: Mapping[str, Split],
    config: TrainConfig,
    chance: Chance,
    world: World,
    device: str,
    load_towers: Callable[[], Towers],
) -> TrainingContext:
    """Everything that the phases need, on the training device."""
    data = {
        name: training_data(split, model.conditioning, config.seed)
        for name, split in splits.items()
    }
    return TrainingContext(
        model=model.placed(device),
        data={name: part.to(device) for name, part in data.items()},
        captions=splits["val"].captions,
        chance=chance,
        world=world,
        config=config,
        load_towers=load_towers,
    )


def chance_of(config: TrainConfig, noise_shape: tuple[int, ...]) -> Chance:
    """How batches are drawn, for noise of a model's shape."""
    return Chance(
        config.seed,
        config.flip,
        config.condition_drop,
        config.text_share,
        noise_shape,
        config.captions,
        config.condition_noise,
    )


def recipe_of(config: TrainConfig, phase: str) -> Recipe:
    """How the network of one phase is trained; a key PHASE_name goes before the common name."""

    def value(name: str) -> Any:
        own = getattr(config, f"{phase}_{name}", None)
        return getattr(config, name) if own is None else own

    return Recipe(**{field.name: value(field.name) for field in fields(Recipe)})


def shareable_by(limit: int, *, model: ModelConfig, config: TrainConfig) -> int:
    """The most processes, `limit` at most, that should share the batches of every phase.

    Each is to have LEAST_ROWS rows or more: with fewer a device waits for the others, not works.
    """
    plan: Plan = loaded(kind_named(model.kind).plan)(model)
    if not plan.divisible or config.compiled:
        return 1
    sizes = [recipe_of(config, name).batch_size for name in plan.phases]
    most = min(limit, max(1, min(sizes) // LEAST_ROWS))
    return max(count for count in range(1, most + 1) if math.gcd(*sizes) % count == 0)


def require_shareable(recipe: Recipe, phase: str, world: World, *, divisible: bool) -> None:
    """Refuse a batch that the processes cannot share.

    Raises:
        ParamsError: there are several, and its rows are no multiple of them, the model computes
            with statistics of whole batches, or steps are to be compiled.
    """
    if world.size > 1 and not divisible:
        raise ParamsError(f"this kind of model is trained by one process, not by {world.size}")
    if world.size > 1 and recipe.compiled:
        raise ParamsError("train.compiled is for one process: set it to false, or share nothing")
    if recipe.batch_size % world.size:
        raise ParamsError(
            f"the {phase}'s batch of {recipe.batch_size} rows cannot be shared among {world.size} "
            "processes: choose a multiple (train.batch_size, or the phase's own)"
        )

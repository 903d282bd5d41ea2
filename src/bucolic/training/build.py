"""The beginning of training: an untrained model, and the data where it is trained."""

from collections.abc import Mapping

import torch

from bucolic.data.shards import Split
from bucolic.models.config import AutoencoderConfig, PriorConfig
from bucolic.models.generator import Generator
from bucolic.training.data import Chance, pairs_of, training_data
from bucolic.training.distributed import World
from bucolic.training.phases import Workshop


def new_generator(
    autoencoder: AutoencoderConfig,
    prior: PriorConfig,
    splits: Mapping[str, Split],
    seed: int,
) -> tuple[Generator, float]:
    """An untrained model whose conditioning is fitted on the splits' embeddings.

    The weights depend on the seed alone, and torch's own random state is left as it was.

    Returns:
        The model, and how near val's mapped texts come to their pictures (mean cosine).
    """
    size_px = splits["train"].images.shape[-1]
    embed_dim = splits["train"].image_vectors.shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        generator = Generator(autoencoder, prior, size_px=size_px, embed_dim=embed_dim)
    cosine = generator.conditioning.fit(pairs_of(splits["train"]), pairs_of(splits["val"]))
    return generator, cosine


def open_workshop(
    generator: Generator, splits: Mapping[str, Split], chance: Chance, world: World, device: str
) -> Workshop:
    """Everything that the phases need, on the training device."""
    data = {name: training_data(split, generator.conditioning) for name, split in splits.items()}
    return Workshop(
        generator=generator.to(torch.device(device)),
        data={name: part.to(device) for name, part in data.items()},
        captions=splits["val"].captions,
        chance=chance,
        world=world,
    )

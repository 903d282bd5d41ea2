"""The original study's own model, trained on pictures and on captions: what it claimed, as it was.

Its arms share pictures, prompts and judges with ours, and nothing else. One seed, by its name.
"""

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bucolic.arms.verdicts import Court, Outcomes
from bucolic.base.report import NoSink
from bucolic.data.shards import Split
from bucolic.models.dlfp.config import DlfpConfig, DlfpTrainConfig
from bucolic.models.dlfp.phases import autoencoder_phase
from bucolic.models.kinds import kind_named
from bucolic.models.model import Model, picture_seed
from bucolic.seeing.clip.towers import Towers
from bucolic.training.build import chance_of, new_model, open_context, recipe_of
from bucolic.training.distributed import World
from bucolic.training.loop import Trainer

KIND, CAPTIONS = "dlfp", 5
TEXT_SHARES = {"dlfp-image": 0.0, "dlfp-text": 1.0}
TITLES = {"dlfp-image": "dl-fp, pictures", "dlfp-text": "dl-fp, five captions"}
logger = logging.getLogger(__name__)


def trained(
    arm: str,
    splits: Mapping[str, Split],
    images: int,
    towers: Towers,
    folder: Path,
    *,
    device: str,
) -> Model:
    """The original's model, conditioned on pictures or on captions while it is trained.

    Args:
        arm: a key of TEXT_SHARES.
        splits: "train" and "val".
        images: budget, in training images seen.
        towers: the CLIP of the embeddings.
        folder: of its checkpoints, from which it goes on.
        device: where it computes.
    """
    share = TEXT_SHARES[arm]
    config = DlfpTrainConfig(autoencoder_images=images, text_share=share, captions=CAPTIONS)
    model, _ = new_model(kind_named(KIND), DlfpConfig(kind=KIND), splits, config.seed)
    chance = chance_of(config, model.noise_shape)
    context = open_context(model, splits, config, chance, World(), device, lambda: towers)
    logger.info("%s: up to %d images", arm, images)
    recipe = recipe_of(config, "autoencoder")
    Trainer(autoencoder_phase(context), recipe, World()).run(folder / f"{arm}-{images}", NoSink())
    return model.eval()


def tried(model: Model, court: Court) -> Outcomes:
    """What it draws of test's prompts, by raw text and from N(0, I), before the jury."""
    texts: np.ndarray = court.test.texts
    seeds = [picture_seed(0, "test", place) for place in range(len(texts))]
    drawn = model.draw(model.conditions_of_texts(texts), seeds, guidance=1.0, steps=1)
    return court.outcomes(drawn.numpy())

import numpy as np
import pytest

from bucolic.data.shards import Split
from bucolic.models.conditioning import Conditioning
from bucolic.models.phases import TrainingData
from bucolic.training.data import pairs_of, training_data

EMBED = 12
SIZE_PX = 32


def make_split(images: int, seed: int) -> Split:
    """Pictures of one colour above another; embeddings and captions know the colours."""
    draw = np.random.default_rng(seed)
    colours = draw.integers(0, 256, (images, 3, 2, 1)).astype(np.uint8)
    pictures = np.repeat(np.repeat(colours, SIZE_PX // 2, axis=2), SIZE_PX, axis=3)
    basis = np.random.default_rng(0).normal(size=(6, EMBED))
    vectors = (colours.reshape(images, 6) / 128 - 1) @ basis
    rows = np.repeat(np.arange(images), 2)
    texts = vectors[rows] + draw.normal(size=(2 * images, EMBED)) * 0.3 + 2
    return Split(
        image_ids=np.arange(images),
        images=pictures,
        image_vectors=vectors.astype(np.float32),
        caption_ids=np.arange(2 * images),
        caption_rows=rows,
        captions=tuple(f"picture {row}, caption {i}" for i, row in enumerate(rows)),
        caption_vectors=texts.astype(np.float32),
    )


@pytest.fixture(scope="session")
def splits() -> dict[str, Split]:
    """Forty train and nine val pictures."""
    return {"train": make_split(40, 1), "val": make_split(9, 2)}


@pytest.fixture(scope="session")
def data(splits: dict[str, Split]) -> TrainingData:
    """The train split with its conditions."""
    conditioning = Conditioning(EMBED)
    conditioning.fit(pairs_of(splits["train"]), pairs_of(splits["val"]))
    return training_data(splits["train"], conditioning)

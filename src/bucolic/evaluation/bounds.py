"""What the model's figures are measured against: pictures that no model drew from the prompt.

- real: the test image itself, the ceiling of every faithfulness figure;
- decode_from_posterior: the autoencoder's reconstruction of it, the ceiling of the prior;
- retrieval: the training image nearest the prompt by CLIP's cosine, what memory alone achieves;
- shuffled_prompts: the model's pictures, each judged on a prompt that contradicts its own;
- mean_image: the mean of the training images, the same for every prompt.
"""

import numpy as np

from bucolic.data.shards import Split
from bucolic.seeing.metrics.similarity import normalised

CHUNK = 1024


def nearest_by_text(train: Split, text_vectors: np.ndarray) -> np.ndarray:
    """Rows of the training images whose embeddings are nearest to texts by cosine.

    Args:
        train: the training split.
        text_vectors: float32 [p, e].

    Returns:
        int64 [p]; the first row where several are equally near.
    """
    images = normalised(train.image_vectors)
    texts = normalised(text_vectors)
    parts = [
        np.argmax(texts[at : at + CHUNK] @ images.T, axis=1) for at in range(0, len(texts), CHUNK)
    ]
    return np.concatenate(parts).astype(np.int64) if parts else np.empty(0, dtype=np.int64)


def mean_picture(train: Split) -> np.ndarray:
    """The mean of the training images, rounded: uint8 [1, 3, s, s]."""
    total = np.zeros(train.images.shape[1:], dtype=np.float64)
    for at in range(0, len(train.images), CHUNK):
        total += train.images[at : at + CHUNK].sum(axis=0, dtype=np.float64)
    mean = np.rint(total / len(train.images)).astype(np.uint8)
    return np.asarray(mean[None])

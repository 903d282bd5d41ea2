"""How far apart a CLIP puts pictures and their captions, and how much of it a map closes."""

from collections.abc import Mapping

import numpy as np

from bucolic.seeing.metrics.similarity import normalised


def modality_gap(images: np.ndarray, texts: np.ndarray) -> dict[str, float]:
    """The gap between unit embeddings of pairs (Liang et al. 2022, arXiv 2203.02053).

    Args:
        images: float [m, e], raw embeddings.
        texts: float [m, e], of a caption of each.

    Returns:
        `centroid_distance` between the means of the two; `centroid_share`, which its square has in
        the mean squared distance of a pair, so much as taking off means can close;
        `matched_cosine`, the mean cosine of pairs.
    """
    pictures, captions = normalised(images), normalised(texts)
    between = pictures.mean(axis=0) - captions.mean(axis=0)
    pairs = np.square(pictures - captions).sum(axis=1).mean()
    squared = float(between @ between)
    return {
        "centroid_distance": float(np.sqrt(squared)),
        "centroid_share": squared / float(pairs) if pairs else 0.0,
        "matched_cosine": float(np.sum(pictures * captions, axis=1).mean()),
    }


def explained(
    images: np.ndarray, train_mean: np.ndarray, predictions: Mapping[str, np.ndarray]
) -> dict[str, float]:
    """R2 of predicted picture embeddings: 1 is exact, 0 no better than train's mean.

    Args:
        images: float [m, e], raw embeddings of held-out pictures.
        train_mean: float [e], of unit embeddings of train's pictures.
        predictions: by name, what each map makes of a caption: float [m, e], to compare
            with unit embeddings.
    """
    pictures = normalised(images)
    spread = np.square(pictures - train_mean).sum()
    return {
        name: float(1 - np.square(pictures - found).sum() / spread)
        for name, found in predictions.items()
    }

"""Cosine similarity between pictures and texts in a joint embedding space."""

import numpy as np


def normalised(vectors: np.ndarray) -> np.ndarray:
    """Vectors [n, e] scaled to length 1, float64; a zero vector stays zero."""
    exact = vectors.astype(np.float64)
    unit: np.ndarray = exact / np.maximum(np.linalg.norm(exact, axis=1, keepdims=True), 1e-12)
    return unit


def clip_similarity(image_vectors: np.ndarray, text_vectors: np.ndarray) -> np.ndarray:
    """Cosine of each picture's embedding with its own text's, without scale or clipping.

    Args:
        image_vectors: float [n, e].
        text_vectors: float [n, e].

    Returns:
        float64 [n] in [-1, 1].
    """
    cosines: np.ndarray = np.sum(normalised(image_vectors) * normalised(text_vectors), axis=1)
    return cosines

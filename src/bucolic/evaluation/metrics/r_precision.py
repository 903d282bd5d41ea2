"""R-precision: does a picture find its own caption among others (AttnGAN, arXiv 1711.10485)."""

import numpy as np

from bucolic.seeing.metrics.similarity import normalised


def r_precision_hits(
    image_vectors: np.ndarray, caption_vectors: np.ndarray, own: np.ndarray, others: np.ndarray
) -> np.ndarray:
    """Whether each picture is closer to its own caption than to every distractor.

    Image to text, top 1; a tie with a distractor is a miss.

    Args:
        image_vectors: float [n, e], one picture each.
        caption_vectors: float [m, e], all captions that play a part.
        own: int [n], row of each picture's caption.
        others: int [n, k], rows of the captions it must beat.

    Returns:
        bool [n].
    """
    captions = normalised(caption_vectors)
    hits = [
        _closest(image, captions[[row, *rivals]])
        for image, row, rivals in zip(normalised(image_vectors), own, others, strict=True)
    ]
    return np.array(hits, dtype=bool)


def _closest(image: np.ndarray, captions: np.ndarray) -> bool:
    # Summed row by row, not as a matrix product, so that equal captions tie to the last bit.
    cosines = np.sum(captions * image, axis=1)
    return bool(cosines[0] > cosines[1:].max())

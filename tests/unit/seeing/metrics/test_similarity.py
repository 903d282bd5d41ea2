import numpy as np
import pytest

from bucolic.seeing.metrics.similarity import clip_similarity, normalised


def test_length_does_not_matter_and_direction_does():
    """Parallel is 1, opposite -1, orthogonal 0."""
    images = np.array([[1.0, 0.0], [0.0, 3.0], [5.0, 0.0]], np.float32)
    texts = np.array([[7.0, 0.0], [0.0, -0.1], [0.0, 2.0]], np.float32)
    assert clip_similarity(images, texts) == pytest.approx([1.0, -1.0, 0.0])


def test_a_zero_vector_stays_zero():
    """No division by zero, no NaN."""
    assert normalised(np.zeros((2, 3))).tolist() == [[0.0] * 3] * 2

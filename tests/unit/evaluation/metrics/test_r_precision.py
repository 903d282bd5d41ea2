import numpy as np

from bucolic.evaluation.metrics.r_precision import r_precision_hits

CAPTIONS = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [2.0, 0.0]])


def test_the_nearest_caption_is_a_hit_and_another_a_miss():
    """A picture hits when its own caption has the highest cosine."""
    images = np.array([[1.0, 0.1], [1.0, 0.1]])
    hits = r_precision_hits(images, CAPTIONS, np.array([0, 1]), np.array([[1, 2], [0, 2]]))
    assert hits.tolist() == [True, False]


def test_a_tie_is_a_miss():
    """A caption of the same direction, merely longer, ties and so beats the hit."""
    hits = r_precision_hits(np.array([[0.3, 0.1]]), CAPTIONS, np.array([0]), np.array([[1, 3]]))
    assert hits.tolist() == [False]


def test_one_picture_for_all_prompts_scores_about_chance():
    """A constant picture hits one prompt in a hundred, for captions in all directions."""
    generator = np.random.default_rng(0)
    captions = generator.normal(size=(3000, 16))
    own = np.arange(3000)
    others = (own[:, None] + generator.integers(1, 3000, (3000, 99))) % 3000
    images = np.broadcast_to(generator.normal(size=16), (3000, 16))
    assert 0.005 < r_precision_hits(images, captions, own, others).mean() < 0.016

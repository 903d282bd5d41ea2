"""Each metric against a slow reference, written from its formula with plain loops."""

import itertools
import math

import numpy as np
import pytest

from bucolic.evaluation.metrics.cmmd import cmmd
from bucolic.evaluation.metrics.copying import c_t
from bucolic.evaluation.metrics.coverage import densities_and_covered
from bucolic.evaluation.metrics.fid import frechet_distance
from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.evaluation.metrics.r_precision import r_precision_hits
from bucolic.evaluation.metrics.ssim import ssim
from bucolic.seeing.metrics.intervals import wilson
from bucolic.seeing.metrics.kid import kid
from bucolic.seeing.metrics.sharpness import laplacian_variance
from bucolic.seeing.metrics.similarity import clip_similarity


def smooth_pictures(n: int, size: int, seed: int) -> np.ndarray:
    """Pictures with structure at several scales, uint8 [n, 3, size, size]."""
    generator = np.random.default_rng(seed)
    coarse = generator.uniform(0, 255, (n, 3, size // 4, size // 4)).repeat(4, 2).repeat(4, 3)
    return np.clip(coarse + generator.normal(0, 20, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    """Two pictures and their noisy versions."""
    clean = smooth_pictures(2, 16, seed=1)
    noise = np.random.default_rng(2).normal(0, 25, clean.shape)
    return clean, np.clip(clean + noise, 0, 255).astype(np.uint8)


def plain_psnr(a: np.ndarray, b: np.ndarray) -> float:
    """10 log10(255^2 / MSE) of two pictures."""
    squares = [(float(x) - float(y)) ** 2 for x, y in zip(a.flat, b.flat, strict=True)]
    return 10 * math.log10(255**2 / (sum(squares) / len(squares)))


def plain_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. 2004, equation 13, one channel: every whole 11 px window by hand."""
    weight = {
        (i, j): math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2))
        for i, j in itertools.product(range(11), repeat=2)
    }
    total = sum(weight.values())
    values = []
    for top, left in itertools.product(range(a.shape[0] - 10), range(a.shape[1] - 10)):
        places = [(w / total, a[top + i, left + j], b[top + i, left + j])
                  for (i, j), w in weight.items()]  # fmt: skip
        mean_a = sum(w * float(x) for w, x, _ in places)
        mean_b = sum(w * float(y) for w, _, y in places)
        var_a = sum(w * (float(x) - mean_a) ** 2 for w, x, _ in places)
        var_b = sum(w * (float(y) - mean_b) ** 2 for w, _, y in places)
        both = sum(w * (float(x) - mean_a) * (float(y) - mean_b) for w, x, y in places)
        c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
        upper = (2 * mean_a * mean_b + c1) * (2 * both + c2)
        values.append(upper / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))
    return sum(values) / len(values)


def plain_kid(left: np.ndarray, right: np.ndarray) -> float:
    """Unbiased MMD^2 with (x.y / d + 1)^3, pair by pair."""

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return (sum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(vectors: np.ndarray) -> float:
        pairs = list(itertools.permutations(vectors, 2))
        return sum(kernel(x, y) for x, y in pairs) / len(pairs)

    across = [kernel(x, y) for x, y in itertools.product(left, right)]
    return within(left) + within(right) - 2 * sum(across) / len(across)


def test_psnr_equals_its_formula(pair: tuple[np.ndarray, np.ndarray]):
    """PSNR is the formula's value for every picture."""
    clean, noisy = pair
    expected = [plain_psnr(a, b) for a, b in zip(clean, noisy, strict=True)]
    assert psnr_db(noisy, clean) == pytest.approx(expected, rel=1e-12)


def test_ssim_equals_the_loop_over_windows(pair: tuple[np.ndarray, np.ndarray]):
    """SSIM is the mean over channels of the window loop."""
    clean, noisy = pair
    expected = [
        np.mean([plain_ssim(x, y) for x, y in zip(a, b, strict=True)])
        for a, b in zip(clean, noisy, strict=True)
    ]
    assert ssim(noisy, clean) == pytest.approx(expected, rel=1e-9)


def test_laplacian_variance_equals_the_loop_over_pixels(pair: tuple[np.ndarray, np.ndarray]):
    """The Laplacian's variance is pooled over the inner pixels of all pictures."""
    _, noisy = pair
    values = []
    for picture in noisy:
        grey = picture.astype(float).mean(axis=0)
        for i, j in itertools.product(range(1, 15), repeat=2):
            around = grey[i - 1, j] + grey[i + 1, j] + grey[i, j - 1] + grey[i, j + 1]
            values.append(around - 4 * grey[i, j])
    expected = sum((v - sum(values) / len(values)) ** 2 for v in values) / len(values)
    assert laplacian_variance(noisy) == pytest.approx(expected, rel=1e-9)


def test_kid_equals_the_sum_over_pairs():
    """KID is the unbiased discrepancy, pair by pair."""
    generator = np.random.default_rng(3)
    left, right = generator.normal(size=(7, 5)), generator.normal(0.5, 1, size=(6, 5))
    assert kid(left, right) == pytest.approx(plain_kid(left, right), rel=1e-12)


def test_cosine_and_r_precision_equal_the_loop():
    """Similarity is the cosine, and a hit is a cosine above that of every rival."""
    generator = np.random.default_rng(4)
    images, captions = generator.normal(size=(20, 6)), generator.normal(size=(50, 6))
    own = generator.integers(0, 50, 20)
    others = np.stack([generator.choice(50, 3, replace=False) for _ in range(20)])

    def cosine(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.dot(x, y) / math.sqrt(np.dot(x, x) * np.dot(y, y)))

    cosines = [cosine(image, captions[row]) for image, row in zip(images, own, strict=True)]
    assert clip_similarity(images, captions[own]) == pytest.approx(cosines, rel=1e-12)
    hits = [
        all(value > cosine(image, captions[rival]) for rival in rivals)
        for image, value, rivals in zip(images, cosines, others, strict=True)
    ]
    assert r_precision_hits(images, captions, own, others).tolist() == hits


def test_wilson_gives_the_published_interval():
    """81 of 263: the example of Newcombe 1998 (method 3), 0.2553 to 0.3662."""
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)


def unit_vectors(n: int, seed: int) -> np.ndarray:
    """Vectors of length 1 around one direction, float64 [n, 6]."""
    vectors = np.random.default_rng(seed).normal(size=(n, 6)) + np.array([2, 0, 0, 0, 0, 0])
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_fid_equals_the_formula_with_a_general_matrix_root():
    """The trace of (S1 S2)^(1/2) by scipy's root of a matrix that is not symmetric."""
    linalg = pytest.importorskip("scipy.linalg")
    left, right = unit_vectors(40, 0), unit_vectors(50, 1) * 1.5
    one, two = (np.cov(vectors.T) for vectors in (left, right))
    gap = left.mean(0) - right.mean(0)
    expected = gap @ gap + np.trace(one + two - 2 * linalg.sqrtm(one @ two).real)
    assert frechet_distance(left, right) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(left, left) == pytest.approx(0, abs=1e-9)


def test_cmmd_equals_the_sum_over_pairs():
    """Every pair of different vectors by hand, times 1,000."""
    left, right = unit_vectors(9, 2), unit_vectors(7, 3)

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return math.exp(-sum((a - b) ** 2 for a, b in zip(x, y, strict=True)) / 200)

    def within(vectors: np.ndarray) -> float:
        pairs = itertools.permutations(range(len(vectors)), 2)
        values = [kernel(vectors[i], vectors[j]) for i, j in pairs]
        return sum(values) / len(values)

    across = [kernel(x, y) for x in left for y in right]
    expected = 1000 * (within(left) + within(right) - 2 * sum(across) / len(across))
    assert cmmd(3 * left, right) == pytest.approx(expected, abs=1e-9)


def test_density_and_coverage_equal_the_count_of_balls():
    """Each real vector's ball to its fifth neighbour, and who lies in it, by hand."""
    made, real = unit_vectors(11, 4), unit_vectors(12, 5)
    held = 0
    covered = 0
    for centre in real:
        radius = sorted(math.dist(centre, other) for other in real)[5]
        inside = sum(math.dist(centre, vector) < radius for vector in made)
        held += inside
        covered += inside > 0
    densities, balls = densities_and_covered(made, 2 * real)
    assert densities.mean() == pytest.approx(held / (5 * len(made)))
    assert balls.mean() == pytest.approx(covered / len(real))


def test_c_t_equals_the_count_of_pairs():
    """How often a held-out distance is the larger, ties half, against its mean and spread."""
    generator = np.random.default_rng(6)
    generated, held_out = generator.integers(0, 9, 30) / 9, generator.integers(0, 9, 20) / 9
    pairs = itertools.product(generated, held_out)
    u = sum((other > own) + 0.5 * (other == own) for own, other in pairs)
    expected = (u - 300) / math.sqrt(30 * 20 * 51 / 12)
    assert c_t(generated, held_out) == pytest.approx(expected)

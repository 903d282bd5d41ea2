"""Whether the model draws what it saw, in the judge's eyes, with controls that must be caught.

A picture counts as near a training picture when it, or its mirror image, is. What the model draws
comes out of its decoder, whose blur alone takes pictures away from all training pictures: so do the
held-out pictures that it is measured by, which the autoencoder gives back. The controls are the
same test on training pictures, half of them mirrored, all with a little noise, in place of all, of
half and of a tenth of the model's own: they show that the test works. `decoded` has copies that the
autoencoder gives back, as a model that copies might hand them in.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bucolic.data.shards import Split
from bucolic.evaluation.figures import Figure, Figures, absent
from bucolic.evaluation.metrics.copying import c_t, copied_share, nearest_distances
from bucolic.evaluation.scores import Sitting
from bucolic.seeing.jury import Jury

LEAST_IMAGES = 100
NOISE_LEVELS = 4.0  # grey levels of standard deviation on the controls' copies
CONTROLS = {"copies": 1.0, "half_copies": 0.5, "tenth_copies": 0.1}
CAUGHT_SHARE = 0.02  # a lower end of the copied share above it is a catch
TOO_FEW = f"not testable: fewer than {LEAST_IMAGES} prompts of held-out images"


@dataclass(frozen=True)
class Memorisation:
    """The figures, and by set of copies whether it was caught; no set without figures.

    Attributes:
        figures: of the model's own pictures.
        controls: copies as they are.
        decoded: copies as the model's autoencoder gives them back.
    """

    figures: Figures
    controls: dict[str, bool] = field(default_factory=dict)
    decoded: dict[str, bool] = field(default_factory=dict)


def memorisation(
    sitting: Sitting,
    train: Split,
    jury: Jury,
    reconstruct: Callable[[np.ndarray, np.ndarray], np.ndarray],
    seed: int,
) -> Memorisation:
    """Test the first draw of each prompt against the training pictures.

    Args:
        sitting: the model's pictures with reconstructions of the real ones of the same prompts.
        train: the training pictures, and their embeddings.
        jury: whose judge, or only CLIP, measures how near pictures are.
        reconstruct: what the model's autoencoder makes of pictures, uint8 [n, 3, s, s], under
            their embeddings [n, e].
        seed: of the copies.
    """
    made, rebuilt = sitting.firsts.pictures, sitting.rebuilt
    if rebuilt is None or len(rebuilt.pictures) < LEAST_IMAGES:
        names = ("c_t_z", "copied_share")
        return Memorisation({name: absent(TOO_FEW) for name in names})
    seen = jury.judged(train.images)
    rows, copies = _copies(train.images, len(made), seed)
    generated, held_out, copied, blurred = (
        _nearest(batch, seen, jury)
        for batch in (
            made,
            rebuilt.pictures,
            _noisy(copies, seed),
            reconstruct(copies, train.image_vectors[rows]),
        )
    )
    share, interval = copied_share(generated, held_out)
    figures = {
        "c_t_z": Figure(c_t(generated, held_out), n=len(made)),
        "copied_share": Figure(share, interval=interval, n=len(made)),
    }
    controls, of_decoded = (
        {name: _caught(_mixed(each, generated, part), held_out) for name, part in CONTROLS.items()}
        for each in (copied, blurred)
    )
    return Memorisation(figures, controls, of_decoded)


def _nearest(pictures: np.ndarray, seen: np.ndarray, jury: Jury) -> np.ndarray:
    """Distance of each picture, or of its mirror image, to the nearest that was seen: [n]."""
    sides = (pictures, _mirror(pictures))
    nearest: np.ndarray = np.minimum(*(nearest_distances(jury.judged(s), seen) for s in sides))
    return nearest


def _mixed(copies: np.ndarray, generated: np.ndarray, part: float) -> np.ndarray:
    """Distances of a set of which that part are copies."""
    number = round(part * len(generated))
    return np.concatenate([copies[:number], generated[number:]])


def _caught(distances: np.ndarray, held_out: np.ndarray) -> bool:
    return copied_share(distances, held_out)[1][0] > CAUGHT_SHARE


def _copies(train: np.ndarray, number: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of training pictures, and the pictures, every second one mirrored."""
    generator = np.random.default_rng(seed)
    rows = generator.choice(len(train), number, replace=len(train) < number)
    chosen = train[rows]
    chosen[::2] = _mirror(chosen[::2])
    return rows, chosen


def _noisy(pictures: np.ndarray, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, NOISE_LEVELS, pictures.shape)
    return np.clip(np.rint(pictures + noise), 0, 255).astype(np.uint8)


def _mirror(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures[..., ::-1])

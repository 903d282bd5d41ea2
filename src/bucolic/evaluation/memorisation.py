"""Whether the model draws what it saw, in the judge's eyes, with controls that must be caught.

A picture counts as near a training picture when it, or its mirror image, is. The controls are the
same test on what a copying model would hand in: training pictures, half of them mirrored, all with
a little noise, in place of all, of half and of a tenth of the model's own.
"""

from dataclasses import dataclass

import numpy as np

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
    """The figures, and by control whether it was caught; no control without figures."""

    figures: Figures
    controls: dict[str, bool]


def memorisation(sitting: Sitting, train: np.ndarray, jury: Jury, seed: int) -> Memorisation:
    """Test the first draw of each prompt against the training pictures.

    Args:
        sitting: the model's pictures with the real ones of the same prompts.
        train: uint8 [m, 3, s, s], the training pictures.
        jury: whose judge, or only CLIP, measures how near pictures are.
        seed: of the controls' copies.
    """
    made, real = sitting.firsts.pictures, sitting.real.pictures if sitting.real else None
    if real is None or len(real) < LEAST_IMAGES:
        names = ("c_t_z", "copied_share")
        return Memorisation({name: absent(TOO_FEW) for name in names}, {})
    seen = jury.judged(train)
    generated, held_out, copies = (
        _nearest(batch, seen, jury) for batch in (made, real, _copies(train, len(made), seed))
    )
    share, interval = copied_share(generated, held_out)
    figures = {
        "c_t_z": Figure(c_t(generated, held_out), n=len(made)),
        "copied_share": Figure(share, interval=interval, n=len(made)),
    }
    controls = {
        name: _caught(_mixed(copies, generated, part), held_out) for name, part in CONTROLS.items()
    }
    return Memorisation(figures, controls)


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


def _copies(train: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Training pictures, every second one mirrored, with noise."""
    generator = np.random.default_rng(seed)
    chosen = train[generator.choice(len(train), number, replace=len(train) < number)]
    chosen[::2] = _mirror(chosen[::2])
    noisy = chosen + generator.normal(0, NOISE_LEVELS, chosen.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def _mirror(pictures: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pictures[..., ::-1])

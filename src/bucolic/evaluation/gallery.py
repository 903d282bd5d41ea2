"""What a model makes of a picture in hand, and of more guidance: to look at, no figures.

- variations: what CLIP sees of a test picture, drawn anew (unCLIP, arXiv 2204.06125, figure 3);
- interpolations: the arc between two pictures' embeddings, all from one noise (figure 4);
- text differences: the model's own pictures turned from one text towards another (figure 5);
- guidance: one noise a prompt, drawn with growing guidance (figure 8).

Nothing here is a reconstruction, and only of drawn data sets do test pictures stand beside their
variations: photographs belong to their authors.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from bucolic.base.errors import ParamsError
from bucolic.base.sheet import Block, Sheet
from bucolic.evaluation.study import Findings, Study
from bucolic.seeing.metrics.similarity import normalised

VARIED, VARIATIONS = 3, 5
WAYS, FRAMES = 2, 7
TURNED, AMOUNTS, TURNING_STEPS = 2, (0.2, 0.4, 0.6, 0.8, 1.0), 32
GUIDED, GUIDANCES = 3, (1.0, 2.0, 3.0, 4.0, 6.0, 8.0)
Edits = Sequence[tuple[str, str]]
logger = logging.getLogger(__name__)


class Painter(Protocol):
    """The part of `bucolic.models.trained.TrainedModel` that is shown."""

    def draw(
        self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0, guidance: float | None = None
    ) -> np.ndarray:
        """Pictures of prompts, uint8 [p, n, 3, s, s]."""

    def vary(self, image_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """Pictures of pictures, uint8 [p, n, 3, s, s]."""

    def interpolate(
        self, first: np.ndarray, last: np.ndarray, *, frames: int, seed: int = 0
    ) -> np.ndarray:
        """Pictures between two, uint8 [frames, 3, s, s]."""

    def edit(
        self,
        picture: np.ndarray,
        image_vector: np.ndarray,
        text_vectors: np.ndarray,
        *,
        amounts: Sequence[float],
        guidance: float,
        steps: int,
    ) -> np.ndarray | None:
        """A picture turned from one text towards another, uint8 [amounts, 3, s, s]."""


def gallery(
    painter: Painter, study: Study, found: Findings, edits: Edits
) -> Iterator[tuple[str, Sheet]]:
    """The four sheets by name, those without pictures left out.

    Args:
        painter: the trained model.
        study: whose test pictures and seed are taken.
        found: of its ordinary prompts; the first ones are shown.
        edits: pairs of texts, from what to what pictures are turned.
    """
    if found.sitting is None:
        return
    rows = found.sitting.exam.prompts.image_rows[:: found.sitting.exam.draws]
    sheets = {
        "variations": lambda: [_variations(painter, study, rows)],
        "interpolations": lambda: [_interpolations(painter, study, rows)] if len(rows) > 1 else [],
        "text_differences": lambda: list(_turned(painter, study, found, edits)),
        "guidance": lambda: list(_guided(painter, study, found)),
    }
    for name, make in sheets.items():
        if sheet := _if_it_can(name, make):
            yield name, sheet


def _if_it_can(name: str, make: Callable[[], Sheet]) -> Sheet:
    """A sheet, empty where it cannot be drawn: figures that are measured are not lost for it."""
    try:
        return make()
    except ParamsError as error:
        logger.warning("no sheet of %s: %s", name, error)
        return []


def _variations(painter: Painter, study: Study, rows: np.ndarray) -> Block:
    shown = rows[:VARIED]
    drawn = painter.vary(study.test.image_vectors[shown], n=VARIATIONS, seed=study.seed)
    captions = [f"variation {number + 1}" for number in range(VARIATIONS)]
    if study.attributes is not None:
        drawn = np.concatenate([study.test.images[shown][:, None], drawn], axis=1)
        captions = ["test picture", *captions]
    return Block(drawn.reshape(-1, *drawn.shape[2:]), columns=len(captions), captions=captions)


def _interpolations(painter: Painter, study: Study, rows: np.ndarray) -> Block:
    """From the first picture to the second, from the third to the fourth."""
    vectors = study.test.image_vectors[rows[: 2 * WAYS]]
    ways = [
        painter.interpolate(first, last, frames=FRAMES, seed=study.seed)
        for first, last in zip(vectors[::2], vectors[1::2], strict=False)
    ]
    shares = [f"{step / (FRAMES - 1):.0%}" for step in range(FRAMES)]
    return Block(np.concatenate(ways), columns=FRAMES, captions=shares)


def _turned(painter: Painter, study: Study, found: Findings, edits: Edits) -> Iterator[Block]:
    """For each edit, the pictures whose prompts come nearest to what it turns from."""
    assert found.sitting is not None
    views, exam = found.sitting.firsts, found.sitting.exam
    prompts = exam.captions.own[exam.prompts.caption_rows[:: exam.draws]]
    for former, latter in edits:
        texts = study.jury.towers.embed_texts([former, latter])
        nearest = np.argsort(-(normalised(prompts) @ normalised(texts[:1])[0]), kind="stable")
        lines = []
        for row in nearest[:TURNED]:
            picture, vector = views.pictures[row], views.vectors[row]
            turned = painter.edit(
                picture, vector, texts, amounts=AMOUNTS, guidance=1.0, steps=TURNING_STEPS
            )
            if turned is None:
                return
            lines += [picture[None], turned]
        captions = ["as drawn", *(f"{amount:.0%}" for amount in AMOUNTS)]
        title = f"From “{former}” towards “{latter}”"
        yield Block(np.concatenate(lines), columns=len(captions), captions=captions, title=title)


def _guided(painter: Painter, study: Study, found: Findings) -> Iterator[Block]:
    assert found.sitting is not None
    exam = found.sitting.exam
    texts = exam.captions.own[exam.prompts.caption_rows[:: exam.draws][:GUIDED]]
    drawn = np.stack(
        [painter.draw(texts, seed=study.seed, guidance=scale)[:, 0] for scale in GUIDANCES], axis=1
    )
    if (drawn == drawn[:, :1]).all():
        return  # a kind that knows no guidance
    captions = [f"guidance {scale:g}" for scale in GUIDANCES]
    for prompt, pictures in zip(found.prompts, drawn, strict=False):
        yield Block(pictures, columns=len(captions), captions=captions, title=prompt)

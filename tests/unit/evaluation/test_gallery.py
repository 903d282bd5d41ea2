"""What is shown of a model with pictures in hand."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bucolic.base.errors import ParamsError
from bucolic.evaluation.gallery import AMOUNTS, FRAMES, GUIDANCES, gallery
from bucolic.evaluation.study import Findings, Study, on_ordinary_prompts
from made_world import SIZE_PX, PerfectArtist, decode, read


class Painter(PerfectArtist):
    """Draws what a vector states; turned pictures are grey, as much as they are turned."""

    turns = True

    def draw(
        self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0, guidance: float | None = None
    ) -> np.ndarray:
        """Pictures of prompts, with their guidance in the first pixel."""
        drawn = super().draw(text_vectors, n=n, seed=seed)
        drawn[..., 0, 0, 0] = round(10 * guidance) if guidance else 0
        return drawn

    def vary(self, image_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """The same of pictures."""
        return self.draw(image_vectors, n=n, seed=seed)

    def interpolate(
        self, first: np.ndarray, last: np.ndarray, *, frames: int, seed: int = 0
    ) -> np.ndarray:
        """The first one, and in the end the last one."""
        vectors = np.stack([first] * (frames - 1) + [last])
        return self.draw(vectors, seed=seed)[:, 0]

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
        """Grey pictures; none of a model without a way back."""
        assert (guidance, steps) == (1.0, 32)
        assert decode(text_vectors[0]) == {"species": "cow"}
        assert image_vector.shape == (12,)
        grey = [np.full_like(picture, round(100 * amount)) for amount in amounts]
        return np.stack(grey) if self.turns else None


EDITS = (("species cow", "species sheep"),)


@pytest.fixture(scope="module")
def ordinary(study: Study) -> Findings:
    """What is found of the painter."""
    return on_ordinary_prompts(replace(study, artist=Painter(), limit=40))


def shown(study: Study, found: Findings, **change: Any) -> dict[str, Any]:
    """The sheets by name."""
    painter = Painter()
    for name, value in change.items():
        setattr(painter, name, value)
    return dict(gallery(painter, study, found, EDITS))


def test_variations_show_what_their_picture_shows(study: Study, ordinary: Findings):
    """Each row begins with the test picture, and all of it have the same facts."""
    (block,) = shown(study, ordinary)["variations"]

    rows = block.pictures.reshape(-1, block.columns, 3, SIZE_PX, SIZE_PX)
    assert block.captions[0] == "test picture"
    assert rows.shape[:2] == (3, 6)
    for row in rows:
        assert len({tuple(read(picture).items()) for picture in row}) == 1


def test_photographs_stay_out_of_the_gallery(study: Study, ordinary: Findings):
    """Without attributes a data set may be of photographs: only drawn pictures are shown."""
    sheets = shown(replace(study, attributes=None), ordinary)

    (block,) = sheets["variations"]
    real = {picture.tobytes() for picture in study.test.images}
    assert "test picture" not in block.captions
    for sheet in sheets.values():
        for part in sheet:
            assert not real & {picture.tobytes() for picture in part.pictures}


def test_ways_begin_and_end_at_their_pictures(study: Study, ordinary: Findings):
    """The first and the last frame show the facts of two test pictures."""
    (block,) = shown(study, ordinary)["interpolations"]

    assert ordinary.sitting is not None
    rows = ordinary.sitting.exam.prompts.image_rows[:: ordinary.sitting.exam.draws]
    frames = block.pictures.reshape(-1, FRAMES, 3, SIZE_PX, SIZE_PX)
    for way, (first, last) in zip(frames, zip(rows[0:4:2], rows[1:4:2], strict=True), strict=True):
        assert read(way[0]) == read(study.test.images[first])
        assert read(way[-1]) == read(study.test.images[last])


def test_pictures_are_turned_that_show_what_they_are_turned_from(study: Study, ordinary: Findings):
    """Their prompts name the species; the drawn picture comes first, then more and more turned."""
    (block,) = shown(study, ordinary)["text_differences"]

    rows = block.pictures.reshape(-1, 1 + len(AMOUNTS), 3, SIZE_PX, SIZE_PX)
    assert block.title == "From “species cow” towards “species sheep”"
    for row in rows:
        assert read(row[0])["species"] == "cow"
        assert [int(picture.max()) for picture in row[1:]] == [20, 40, 60, 80, 100]


def test_a_model_without_a_way_back_has_no_text_differences(study: Study, ordinary: Findings):
    """The other sheets are there."""
    assert list(shown(study, ordinary, turns=False)) == ["variations", "interpolations", "guidance"]


def test_guidance_grows_along_a_row_of_one_prompt(study: Study, ordinary: Findings):
    """One block a prompt, its text above, the same noise at every guidance."""
    blocks = shown(study, ordinary)["guidance"]

    assert [block.title for block in blocks] == list(ordinary.prompts[:3])
    for block in blocks:
        first = [int(picture[0, 0, 0]) for picture in block.pictures]
        assert first == [round(10 * guidance) for guidance in GUIDANCES]
        rest = {picture.reshape(3, -1)[:, 1:].tobytes() for picture in block.pictures}
        assert len(rest) == 1


def test_what_cannot_be_drawn_is_left_out_and_the_rest_is_there(
    study: Study, ordinary: Findings, caplog: pytest.LogCaptureFixture
):
    """Figures were measured before; a sheet that fails costs a line."""

    def refused(*_: Any, **__: Any) -> None:
        raise ParamsError("both texts say the same")

    sheets = shown(study, ordinary, edit=refused)

    assert list(sheets) == ["variations", "interpolations", "guidance"]
    assert caplog.messages == ["no sheet of text_differences: both texts say the same"]


def test_a_model_that_knows_no_guidance_has_no_sheet_of_it(study: Study, ordinary: Findings):
    """Equal pictures under growing numbers would say what is not so."""
    plain = PerfectArtist()

    def draw(text_vectors: np.ndarray, *, n: int = 1, seed: int = 0, **_: Any) -> np.ndarray:
        return plain.draw(text_vectors, n=n, seed=seed)

    assert "guidance" not in shown(study, ordinary, draw=draw)

"""filter: choose the images of the theme by words in their captions, and split them."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from bucolic.base.errors import DataError
from bucolic.base.keywords import Match, plain
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.data.captions import CaptionedImages, read_captions
from bucolic.data.coco import present_splits
from bucolic.data.instances import images_by_category
from bucolic.data.keyword_search import found_in
from bucolic.data.selection import write_selection
from bucolic.data.split import SPLITS, SplitName, assign_split


def _seen(word: str) -> str:
    """Refuse a word of characters that no one sees: it would be found in every caption."""
    if not plain(word):
        raise PydanticCustomError("unseen", "Input should hold a character that can be seen")
    return word


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_seen)]


class FilterConfig(Section):
    """The `filter` section.

    Attributes:
        keywords: words of the theme; an image is chosen when any caption holds any of them.
        match: "word" finds whole words and their plurals in any case; "substring" finds the
            letters anywhere, as the original study did ("chill" for "hill").
        categories: COCO categories; an image that shows any of them is chosen too.
        licences: licence ids that may be used; empty for all.
        min_captions: how many captions must hold a keyword.
        val_share: share of the images outside test that goes to val.
        test_share: share that goes to test where the data set has no val2017.
    """

    keywords: tuple[Word, ...] = Field(min_length=1)
    match: Match = "word"
    categories: tuple[Word, ...] = ()
    licences: tuple[int, ...] = ()
    min_captions: int = Field(default=1, ge=1)
    val_share: float = Field(default=0.1, gt=0, lt=1)
    test_share: float = Field(default=0.1, gt=0, lt=1)

    @model_validator(mode="after")
    def _leaves_images_to_train(self) -> Self:
        if self.val_share + self.test_share >= 1:
            raise PydanticCustomError(
                "shares",
                "val_share {val} and test_share {test} leave no image to train: "
                "choose shares whose sum is below 1",
                {"val": self.val_share, "test": self.test_share},
            )
        return self


def select_images(
    annotations: Path,
    out: Path,
    *,
    config: FilterConfig,
    runtime: Runtime | None = None,  # noqa: ARG001 - all stages are given one; this needs none
) -> Summary:
    """Write the selection of images that the theme chooses.

    Args:
        annotations: folder of COCO annotation files.
        out: the Parquet file to write, see data/selection.py.
        config: the theme.
        runtime: plays no part.

    Raises:
        DataError: the annotations cannot be used, or the theme leaves a split without any image;
            the message gives the counts.
    """
    read = read_captions(annotations)
    shown = images_by_category(annotations, config.categories) if config.categories else {}
    held_out = "val2017" in present_splits(annotations)
    why = _why(read, config) | {name: _rows_of(ids, read) for name, ids in shown.items()}
    rows = np.unique(np.concatenate(list(why.values())))
    rows = rows[_licensed(read.images.take(rows), config)]
    images, captions = read.images.take(rows), read.captions_of(rows)
    splits = _splits_of(images, config, held_out=held_out)
    _require_every_split(Counter(splits), config)
    write_selection(out, images, captions, splits, _keywords_of(rows, why))
    figures = {
        "considered": len(read.images),
        "selected": len(images),
        "splits": {name: splits.count(name) for name in SPLITS},
        "captions": len(captions.values),
    }
    details = {
        "keywords": {word: int(np.isin(rows, why[word]).sum()) for word in sorted(why)},
        "left_out": dict(read.left_out),
    }
    return Summary(Rows(len(images), len(images)), figures=figures, details=details)


def _why(read: CaptionedImages, config: FilterConfig) -> dict[str, np.ndarray]:
    """For each keyword, the rows of the images that it chooses."""
    texts, of_image = read.captions["text"], read.captions["image_row"].to_numpy()
    places = {word: found_in(texts, word, config.match) for word in set(config.keywords)}
    any_word = np.unique(np.concatenate(list(places.values())))
    rows, counts = np.unique(of_image[any_word], return_counts=True)
    enough = rows[counts >= config.min_captions]
    return {word: np.intersect1d(of_image[found], enough) for word, found in places.items()}


def _rows_of(image_ids: set[int], read: CaptionedImages) -> np.ndarray:
    """The rows of the images of those ids, where they have captions."""
    return np.flatnonzero(np.isin(read.images["image_id"].to_numpy(), list(image_ids)))


def _licensed(images: pa.Table, config: FilterConfig) -> np.ndarray:
    """Whether each image may be used: bool [n]."""
    allowed = np.isin(images["licence"].to_pylist(), config.licences)
    return allowed | (not config.licences)


def _keywords_of(rows: np.ndarray, why: Mapping[str, np.ndarray]) -> list[list[str]]:
    """The keywords and categories that choose the image of each row, sorted."""
    found: list[list[str]] = [[] for _ in rows]
    for word in sorted(why):
        for place in np.flatnonzero(np.isin(rows, why[word])):
            found[place].append(word)
    return found


def _splits_of(images: pa.Table, config: FilterConfig, *, held_out: bool) -> list[SplitName]:
    columns = (images[name].to_pylist() for name in ("image_id", "source_split"))
    shares = {"val_share": config.val_share, "test_share": config.test_share}
    return [
        assign_split(number, source, held_out=held_out, **shares)
        for number, source in zip(*columns, strict=True)
    ]


def _require_every_split(splits: Counter[SplitName], config: FilterConfig) -> None:
    if all(splits[name] for name in SPLITS):
        return
    counts = ", ".join(f"{name} {splits[name]}" for name in SPLITS)
    words = ", ".join(config.keywords)
    raise DataError(
        f"filter.keywords: {words} selects too few images ({counts}), and each split needs one: "
        "add keywords, or look for them in the captions with match: substring"
    )

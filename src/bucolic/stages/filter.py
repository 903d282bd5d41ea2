"""filter: choose the images of the theme by words in their captions, and split them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from bucolic.base.errors import DataError
from bucolic.base.keywords import Match, pattern_of, plain
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.data.coco import (
    CaptionedImage,
    images_by_category,
    present_splits,
    read_captions,
)
from bucolic.data.selection import SelectedImage, write_selection
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
    patterns = {word: pattern_of(word, config.match) for word in sorted(set(config.keywords))}
    selected = [
        SelectedImage(image, _split(image, config, held_out=held_out), keywords)
        for image in read.images
        if (keywords := _why(image, patterns, config, shown)) and _licensed(image, config)
    ]
    splits = Counter(row.split for row in selected)
    _require_every_split(splits, config)
    write_selection(out, selected)
    figures = {
        "considered": len(read.images),
        "selected": len(selected),
        "splits": {name: splits[name] for name in SPLITS},
        "captions": sum(len(row.image.captions) for row in selected),
    }
    details = {
        "keywords": _counts(selected, [*patterns, *config.categories]),
        "left_out": dict(read.left_out),
    }
    return Summary(Rows(len(selected), len(selected)), figures=figures, details=details)


def _why(
    image: CaptionedImage,
    patterns: dict[str, re.Pattern[str]],
    config: FilterConfig,
    shown: dict[str, set[int]],
) -> tuple[str, ...]:
    """The keywords and categories that choose this image; empty if none does."""
    found = [_words_in(caption.text, patterns) for caption in image.captions]
    enough = sum(map(bool, found)) >= config.min_captions
    words = set().union(*found) if enough else set()
    return tuple(sorted(words | {name for name, ids in shown.items() if image.image_id in ids}))


def _words_in(text: str, patterns: Mapping[str, re.Pattern[str]]) -> set[str]:
    """The words found in a caption as it is written, or in its plain form."""
    forms = (text,) if text.isascii() else (text, plain(text))
    return {word for form in forms for word, p in patterns.items() if p.search(form)}


def _licensed(image: CaptionedImage, config: FilterConfig) -> bool:
    return not config.licences or image.licence in config.licences


def _split(image: CaptionedImage, config: FilterConfig, *, held_out: bool) -> SplitName:
    return assign_split(
        image.image_id,
        image.source_split,
        held_out=held_out,
        val_share=config.val_share,
        test_share=config.test_share,
    )


def _require_every_split(splits: Counter[SplitName], config: FilterConfig) -> None:
    if all(splits[name] for name in SPLITS):
        return
    counts = ", ".join(f"{name} {splits[name]}" for name in SPLITS)
    words = ", ".join(config.keywords)
    raise DataError(
        f"filter.keywords: {words} selects too few images ({counts}), and each split needs one: "
        "add keywords, or look for them in the captions with match: substring"
    )


def _counts(selected: Iterable[SelectedImage], words: list[str]) -> dict[str, int]:
    found = Counter(word for row in selected for word in row.keywords)
    return {word: found[word] for word in sorted(words)}

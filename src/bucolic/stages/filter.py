"""filter: choose the images of the theme by words in their captions, and split them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import AfterValidator, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from bucolic.base.errors import DataError
from bucolic.base.keywords import Match, plain
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.data.attribution import write_attribution
from bucolic.data.captions import CaptionedImages, read_captions
from bucolic.data.coco import present_splits
from bucolic.data.instances import Box, Shown, shown_instances, subject_of
from bucolic.data.keyword_search import find_words, junk_in, part_of_other_words
from bucolic.data.selection import write_selection
from bucolic.data.split import SPLITS, SplitName, assign_split
from bucolic.data.squares import Subject
from bucolic.data.tables import exact_memory, give_back_memory, iterate_rows

CAPTIONS_READ = "captions_read"  # in the record: what its time grows with
WORDS_LISTED = 20  # in the record, of those that hold a keyword and are another


def _seen(word: str) -> str:
    """Refuse a word of characters that no one sees: it would be found in every caption."""
    if not plain(word):
        raise PydanticCustomError("unseen", "Input should hold a character that can be seen")
    return word


Word = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1), AfterValidator(_seen)]


class FilterConfig(Section):
    """What the theme chooses, and how it is split.

    Attributes:
        keywords: words of the theme, of one word or several; an image is chosen when any caption
            holds any of them.
        exclude: words; an image is left out when any caption holds any of them.
        match: "word" finds whole words and their plurals in any case; "substring" finds the
            letters anywhere, as the original study did ("chill" for "hill").
        categories: COCO categories; an image that shows them is chosen too.
        categories_match: whether it is enough to show "any" of them, or "all" must be there.
        min_area: least area of what shows a category, in pixels of the annotated size.
        licences: licence ids that may be used; empty for all.
        min_captions: how many captions must hold a keyword.
        drop_junk_captions: whether captions that say there is no image are left out; they are
            counted in any case.
        val_share: share of train2017's images that goes to val.
        test_share: share of them that goes to test where the data set has no val2017; with
            val_share less than 1.
    """

    keywords: tuple[Word, ...] = Field(min_length=1)
    exclude: tuple[Word, ...] = ()
    match: Match = "word"
    categories: tuple[Word, ...] = ()
    categories_match: Literal["any", "all"] = "any"
    min_area: float = Field(default=0, ge=0)
    licences: tuple[int, ...] = ()
    min_captions: int = Field(default=1, ge=1)
    drop_junk_captions: bool = False
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


@dataclass(frozen=True)
class Theme:
    """What a theme chooses; rows of images are int64 and ascend.

    Attributes:
        read: images and captions, without those of junk where these are dropped.
        why: by keyword and category, the rows of the images that it chooses.
        excluded: rows of the images that a word leaves out.
        of_any_licence: rows that are chosen, and not excluded.
        rows: those of them that may be used.
        boxes: by image id, of what shows the categories.
        junk_captions: how many captions say that there is no image.
    """

    read: CaptionedImages
    why: Mapping[str, np.ndarray]
    excluded: np.ndarray
    of_any_licence: np.ndarray
    rows: np.ndarray
    boxes: Mapping[int, Sequence[Box]]
    junk_captions: int

    def require_images(self, config: FilterConfig) -> None:
        """Raise DataError where nothing is chosen, which no run goes beyond."""
        if not len(self.rows):
            words = ", ".join(config.keywords)
            raise DataError(
                f"filter.keywords: {words} selects none of {len(self.read.images):,} images: "
                "add keywords, or look for them in the captions with match: substring"
            )


@exact_memory()
def select_images(
    annotations: Path,
    out: Path,
    attribution: Path,
    *,
    config: FilterConfig,
    runtime: Runtime | None = None,  # noqa: ARG001 - all stages are given one; this needs none
) -> Summary:
    """Write the selection of images that the theme chooses.

    Args:
        annotations: folder of COCO annotation files.
        out: the Parquet file to write, see data/selection.py.
        attribution: the folder to write, see data/attribution.py.
        config: the theme.
        runtime: plays no part.

    Raises:
        DataError: the annotations cannot be used, or the theme leaves a split without any image;
            the message gives the counts.
    """
    theme = choose(annotations, config)
    read, why, rows = theme.read, theme.why, theme.rows
    give_back_memory()  # of the search
    images = read.images.take(rows)
    splits = _splits_of(images, config, held_out="val2017" in present_splits(annotations))
    _require_every_split(Counter(splits), config)
    subjects = _subjects(images, theme.boxes)
    keywords, captions_of = _keywords_of(rows, why), read.captions_by_image(rows)
    write_selection(out, images, captions_of, splits, keywords, subjects)
    write_attribution(attribution, images, read.licences)
    figures = {
        "considered": len(read.images),
        "selected": len(images),
        "splits": {name: splits.count(name) for name in SPLITS},
        "captions": int(np.isin(read.captions["image_row"].to_numpy(), rows).sum()),
        "junk_captions": theme.junk_captions,
    }
    details = {
        "keywords": {word: int(np.isin(rows, why[word]).sum()) for word in sorted(why)},
        "licences": _licences(theme),
        "left_out": dict(read.left_out),
        CAPTIONS_READ: len(read.captions),
    }
    if config.match == "word":
        details["parts_of_words"] = _parts_of_words(theme, config)
    return Summary(Rows(len(images), len(images)), figures=figures, details=details)


def choose(annotations: Path, config: FilterConfig) -> Theme:
    """What the theme chooses of the annotations in a folder.

    Raises:
        DataError: the annotations cannot be used.
    """
    read = read_captions(annotations)
    junk = junk_in(read.captions["text"])
    if config.drop_junk_captions:
        read = read.without(junk)
    shown = shown_categories(annotations, config)
    why = _united(_by_words(read, config), _by_categories(read, shown.images, config))
    excluded = _excluded(read, config)
    of_any_licence = np.setdiff1d(np.concatenate(list(why.values())), excluded)
    rows = licensed(read, of_any_licence, config)
    return Theme(read, why, excluded, of_any_licence, rows, shown.boxes, len(junk))


def shown_categories(annotations: Path, config: FilterConfig) -> Shown:
    """What the images show of the theme's categories; no file is read where it has none."""
    if not config.categories:
        return Shown({}, {})
    return shown_instances(annotations, config.categories, min_area=config.min_area)


def _united(*reasons: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Rows by keyword or category; one name may be both."""
    names = dict.fromkeys(name for of_kind in reasons for name in of_kind)
    none = np.empty(0, np.int64)
    return {
        name: np.unique(np.concatenate([of_kind.get(name, none) for of_kind in reasons]))
        for name in names
    }


def _by_words(read: CaptionedImages, config: FilterConfig) -> dict[str, np.ndarray]:
    """For each keyword, the rows of the images that it chooses."""
    texts, of_image = read.captions["text"], read.captions["image_row"].to_numpy()
    places = find_words(texts, set(config.keywords), config.match)
    any_word = np.unique(np.concatenate(list(places.values())))
    rows, counts = np.unique(of_image[any_word], return_counts=True)
    enough = rows[counts >= config.min_captions]
    return {word: np.intersect1d(of_image[found], enough) for word, found in places.items()}


def _by_categories(
    read: CaptionedImages, shown: Mapping[str, set[int]], config: FilterConfig
) -> dict[str, np.ndarray]:
    """For each category, the rows of the images that it chooses."""
    if shown and config.categories_match == "all":
        shown = dict.fromkeys(shown, set.intersection(*shown.values()))
    return {name: _rows_of(ids, read) for name, ids in shown.items()}


def _subjects(images: pa.Table, boxes: Mapping[int, Sequence[Box]]) -> list[Subject | None]:
    """For each image the centre of what shows the categories there."""
    return [
        subject_of(boxes.get(row["image_id"], ()), row["width"], row["height"])
        for row in iterate_rows(images.select(["image_id", "width", "height"]))
    ]


def _excluded(read: CaptionedImages, config: FilterConfig) -> np.ndarray:
    """The rows of the images of which a caption holds a word that is not wanted."""
    if not config.exclude:
        return np.empty(0, np.int64)
    places = find_words(read.captions["text"], set(config.exclude), config.match)
    of_image = read.captions["image_row"].to_numpy()
    return np.unique(of_image[np.concatenate(list(places.values()))])


def _licences(theme: Theme) -> dict[str, Any]:
    """How many images of the theme have each licence, and which share of them may be used."""
    read, rows = theme.read, theme.of_any_licence
    licences = read.images.select(["licence"]).take(rows)
    counts = Counter(row["licence"] for row in iterate_rows(licences))
    by_licence = {
        "none" if number is None else str(number): {
            "name": read.licences[number].name if number in read.licences else "",
            "images": count,
        }
        for number, count in sorted(counts.items(), key=lambda item: (item[0] is None, item[0]))
    }
    return {"of_the_theme": by_licence, "share_used": len(theme.rows) / max(len(rows), 1)}


def _parts_of_words(theme: Theme, config: FilterConfig) -> dict[str, Any]:
    """What `match: substring` would choose beside the theme, and the commonest reasons."""
    texts, of_image = theme.read.captions["text"], theme.read.captions["image_row"].to_numpy()
    excluded = _excluded(theme.read, config.model_copy(update={"match": "substring"}))
    beside = ~np.isin(of_image, np.union1d(theme.of_any_licence, excluded))
    found = part_of_other_words(texts, config.keywords, beside)
    images, counts = np.unique(of_image[list(found)], return_counts=True)
    chosen = set(images[counts >= config.min_captions].tolist())
    words = Counter(
        word for place, words in found.items() if int(of_image[place]) in chosen for word in words
    )
    return {"images": len(chosen), "words": dict(words.most_common(WORDS_LISTED))}


def _rows_of(image_ids: set[int], read: CaptionedImages) -> np.ndarray:
    """The rows of the images of those ids, where they have captions."""
    return np.flatnonzero(np.isin(read.images["image_id"].to_numpy(), list(image_ids)))


def licensed(read: CaptionedImages, rows: np.ndarray, config: FilterConfig) -> np.ndarray:
    """Those of the rows of images that may be used."""
    if not config.licences:
        return rows
    licences = read.images["licence"].take(pa.array(rows)).to_numpy()  # NaN where there is none
    return rows[np.isin(licences, config.licences)]


def _keywords_of(rows: np.ndarray, why: Mapping[str, np.ndarray]) -> pa.ListArray:
    """The keywords and categories that choose the image of each row, sorted."""
    words = sorted(why)
    chosen_by = [np.flatnonzero(np.isin(rows, why[word])) for word in words]
    places = np.concatenate(chosen_by)
    numbers = np.repeat(np.arange(len(words)), [len(found) for found in chosen_by])
    ends = np.bincount(places, minlength=len(rows)).cumsum()
    in_order = numbers[np.argsort(places, kind="stable")]
    offsets = pa.array(np.append(0, ends), pa.int32())
    return pa.ListArray.from_arrays(offsets, pa.array(words).take(pa.array(in_order)))


def _splits_of(images: pa.Table, config: FilterConfig, *, held_out: bool) -> list[SplitName]:
    shares = {"val_share": config.val_share, "test_share": config.test_share}
    return [
        assign_split(row["image_id"], row["source_split"], held_out=held_out, **shares)
        for row in iterate_rows(images.select(["image_id", "source_split"]))
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

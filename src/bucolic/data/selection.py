"""data/selection.parquet: which images the theme selects, and on which side of the split they are.

One row an image, ordered by image id; format version 2 in the schema metadata:

| column | type | meaning |
|---|---|---|
| image_id | int64 | COCO's id |
| split | string | train, val or test |
| source_split | string | train2017 or val2017, the folder the file is in |
| file_name | string | e.g. 000000000139.jpg |
| width, height | int32, nullable | pixels, as the annotation says |
| licence | int32, nullable | licence id of the annotation file |
| coco_url, flickr_url | string | where the file and its author's page are; may be empty |
| captions | list of (caption_id int64, text string) | all captions, ordered by id |
| keywords | list of string | the keywords and categories that selected it, sorted |
| subject_x, subject_y | float64, nullable | centre of what filter.categories names, see below |

A subject's centre is in pixels of the annotated size, and null where no instance is known.
"""

from array import array
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import Any, cast

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bucolic.base.errors import DataError
from bucolic.data.captions import IMAGES
from bucolic.data.coco import Caption, CaptionedImage
from bucolic.data.split import SplitName
from bucolic.data.squares import Subject
from bucolic.data.tables import ROWS_PER_GROUP, iterate_images, write_tables

VERSION = "2"
SCHEMA = pa.schema(
    [
        IMAGES.field("image_id"),
        ("split", pa.string()),
        *list(IMAGES)[1:],
        ("captions", pa.list_(pa.struct([("caption_id", pa.int64()), ("text", pa.string())]))),
        ("keywords", pa.list_(pa.string())),
        ("subject_x", pa.float64()),
        ("subject_y", pa.float64()),
    ],
    metadata={"bucolic.format": "selection", "bucolic.version": VERSION},
)


@dataclass(frozen=True, slots=True)
class SelectedImage:
    """One row of the selection."""

    image: CaptionedImage
    split: SplitName
    keywords: tuple[str, ...]
    subject: Subject | None = None


@dataclass(frozen=True)
class Chosen:
    """What the selection says of some of its images, as columns: objects would take far more.

    Attributes:
        splits: by image id.
        subjects: likewise, where they are known.
        image_ids: of each caption, int64 [m], ordered by it and then by the caption's id.
        caption_ids: int64 [m].
        texts: m of them, or none where they are not asked for.
    """

    splits: dict[int, SplitName]
    subjects: dict[int, Subject]
    image_ids: NDArray[np.int64]
    caption_ids: NDArray[np.int64]
    texts: list[str]


def read_chosen(path: Path, images: Collection[int], *, with_texts: bool = False) -> Chosen:
    """Read what the selection says of the images with these ids; see `iterate_selection`."""
    splits, subjects = dict[int, SplitName](), dict[int, Subject]()
    image_ids, caption_ids, texts = array("q"), array("q"), list[str]()
    for row in iterate_selection(path, without=("keywords",)):
        number = row.image.image_id
        if number not in images:
            continue
        splits[number] = row.split
        if row.subject is not None:
            subjects[number] = row.subject
        for caption in row.image.captions:
            image_ids.append(number)
            caption_ids.append(caption.caption_id)
            if with_texts:
                texts.append(caption.text)
    of_image, ids = (np.array(column, np.int64) for column in (image_ids, caption_ids))
    return Chosen(splits, subjects, of_image, ids, texts)


def write_selection(
    path: Path,
    images: pa.Table,
    captions_of: Callable[[slice], pa.ListArray],
    splits: Sequence[SplitName],
    keywords: pa.ListArray,
    subjects: Sequence[Subject | None],
) -> None:
    """Write the selection.

    Args:
        path: where to.
        images: columns of data/captions.py, ordered by image id.
        captions_of: of the images at some places, for each the list of (caption_id, text).
        splits: for each image.
        keywords: for each image, sorted.
        subjects: for each image, where one is known.
    """

    def part(at: slice) -> pa.Table:
        columns = {name: images[name][at] for name in images.column_names}
        columns |= {"split": splits[at], "captions": captions_of(at), "keywords": keywords[at]}
        for axis in ("x", "y"):
            columns[f"subject_{axis}"] = [
                subject and getattr(subject, axis) for subject in subjects[at]
            ]
        return pa.table(columns, schema=SCHEMA)

    starts = range(0, max(len(images), 1), ROWS_PER_GROUP)
    parts = (part(slice(start, start + ROWS_PER_GROUP)) for start in starts)
    write_tables(path, SCHEMA, parts)


def read_selection(path: Path, *, without: Collection[str] = ()) -> list[SelectedImage]:
    """The selection as a list; see `iterate_selection`."""
    return list(iterate_selection(path, without=without))


def iterate_selection(path: Path, *, without: Collection[str] = ()) -> Iterator[SelectedImage]:
    """Read the selection row by row.

    Args:
        path: the file.
        without: of "captions" and "keywords", what is not looked at and left empty.

    Raises:
        DataError: the file is missing, of another format, or edited.
    """
    for record in iterate_images(path, "selection", VERSION, without=without):
        try:
            selected = _selected(dict.fromkeys(without, ()) | record)
        except (TypeError, ValueError) as error:
            raise DataError(f"{path}: {error}: run the filter stage again") from None
        yield selected


def _selected(record: dict[str, Any]) -> SelectedImage:
    captions = tuple(Caption(**caption) for caption in record.pop("captions"))
    split = cast("SplitName", intern(record.pop("split")))
    keywords = tuple(record.pop("keywords"))
    x, y = record.pop("subject_x"), record.pop("subject_y")
    record["source_split"] = intern(record["source_split"])  # once, and not in every row
    image = CaptionedImage(**record, captions=captions)
    return SelectedImage(image, split, keywords, _subject(x, y, image))


def _subject(x: float | None, y: float | None, image: CaptionedImage) -> Subject | None:
    if x is None or y is None or image.width is None or image.height is None:
        return None
    return Subject(x, y, image.width, image.height)

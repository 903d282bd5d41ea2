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

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bucolic.base.errors import DataError
from bucolic.data.captions import IMAGES
from bucolic.data.coco import Caption, CaptionedImage
from bucolic.data.split import SplitName
from bucolic.data.squares import Subject
from bucolic.data.tables import read_table, write_table

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


@dataclass(frozen=True)
class SelectedImage:
    """One row of the selection."""

    image: CaptionedImage
    split: SplitName
    keywords: tuple[str, ...]
    subject: Subject | None = None


def write_selection(
    path: Path,
    images: pa.Table,
    captions: pa.ListArray,
    splits: Sequence[SplitName],
    keywords: Sequence[Sequence[str]],
    subjects: Sequence[Subject | None],
) -> None:
    """Write the selection.

    Args:
        path: where to.
        images: columns of data/captions.py, ordered by image id.
        captions: for each image the list of (caption_id, text).
        splits: for each image.
        keywords: for each image, sorted.
        subjects: for each image, where one is known.
    """
    columns = {name: images[name] for name in images.column_names}
    columns |= {"split": splits, "captions": captions, "keywords": keywords}
    columns |= {
        f"subject_{axis}": [subject and getattr(subject, axis) for subject in subjects]
        for axis in ("x", "y")
    }
    write_table(path, pa.table(columns, schema=SCHEMA))


def read_selection(path: Path) -> list[SelectedImage]:
    """Read the selection; DataError where the file is missing, of another format, or edited."""
    table = read_table(path, "selection", VERSION)
    try:
        return [_selected(record) for record in table.to_pylist()]
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {error}: run the filter stage again") from None


def _selected(record: dict[str, Any]) -> SelectedImage:
    captions = tuple(Caption(**caption) for caption in record.pop("captions"))
    split, keywords = record.pop("split"), tuple(record.pop("keywords"))
    x, y = record.pop("subject_x"), record.pop("subject_y")
    image = CaptionedImage(**record, captions=captions)
    return SelectedImage(image, split, keywords, _subject(x, y, image))


def _subject(x: float | None, y: float | None, image: CaptionedImage) -> Subject | None:
    if x is None or y is None or image.width is None or image.height is None:
        return None
    return Subject(x, y, image.width, image.height)

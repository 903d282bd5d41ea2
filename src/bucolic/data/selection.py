"""data/selection.parquet: which images the theme selects, and on which side of the split they are.

One row an image, ordered by image id; format version 1 in the schema metadata:

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
from bucolic.data.tables import read_table, write_table

VERSION = "1"
SCHEMA = pa.schema(
    [
        IMAGES.field("image_id"),
        ("split", pa.string()),
        *list(IMAGES)[1:],
        ("captions", pa.list_(pa.struct([("caption_id", pa.int64()), ("text", pa.string())]))),
        ("keywords", pa.list_(pa.string())),
    ],
    metadata={"bucolic.format": "selection", "bucolic.version": VERSION},
)


@dataclass(frozen=True)
class SelectedImage:
    """One row of the selection."""

    image: CaptionedImage
    split: SplitName
    keywords: tuple[str, ...]


def write_selection(
    path: Path,
    images: pa.Table,
    captions: pa.ListArray,
    splits: Sequence[SplitName],
    keywords: Sequence[Sequence[str]],
) -> None:
    """Write the selection.

    Args:
        path: where to.
        images: columns of data/captions.py, ordered by image id.
        captions: for each image the list of (caption_id, text).
        splits: for each image.
        keywords: for each image, sorted.
    """
    columns = {name: images[name] for name in images.column_names}
    columns |= {"split": splits, "captions": captions, "keywords": keywords}
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
    return SelectedImage(CaptionedImage(**record, captions=captions), split, keywords)

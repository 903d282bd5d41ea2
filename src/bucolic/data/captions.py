"""The captions files of COCO: images and captions of all source splits, joined, as columns.

Columns, and not an object for each record: train2017 has 591,753 captions, and a theme takes some
percent of them.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, NotRequired

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from bucolic.base.errors import DataError
from bucolic.data.coco import (
    SourceSplit,
    annotation_file,
    present_splits,
    require_train,
)
from bucolic.data.records import (
    STRICT,
    Document,
    Id,
    Name,
    Number,
    Text,
    batches,
    open_document,
    require_unique,
    told_problem,
)
from bucolic.data.tables import exact_memory, give_back_memory, in_one_piece

logger = logging.getLogger(__name__)
LEFT_OUT = ("images_without_caption", "captions_without_image", "empty_captions")
IMAGES = pa.schema(
    [
        ("image_id", pa.int64()),
        ("source_split", pa.string()),
        ("file_name", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("licence", pa.int32()),
        ("coco_url", pa.string()),
        ("flickr_url", pa.string()),
    ]
)
CAPTIONS = pa.schema([("caption_id", pa.int64()), ("image_id", pa.int64()), ("text", pa.string())])
_KEYS = {"image_id": "id", "licence": "license"}  # of an image's record, where COCO's word differs


class _ImageRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    id: Id
    file_name: Name
    width: NotRequired[Number | None]
    height: NotRequired[Number | None]
    license: NotRequired[Number | None]
    coco_url: NotRequired[Text | None]
    flickr_url: NotRequired[Text | None]


class _CaptionRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    id: Id
    image_id: Id
    caption: Text


class _LicenceRecord(TypedDict):
    id: int
    name: Text
    url: NotRequired[Text | None]


_LICENCE = TypeAdapter(_LicenceRecord)
_IMAGES, _CAPTIONS = TypeAdapter(list[_ImageRecord]), TypeAdapter(list[_CaptionRecord])


class Licence(NamedTuple):
    """A licence as the annotation files name it."""

    name: str
    url: str

    @property
    def is_open(self) -> bool:
        """Whether it allows changes and commerce, by the words of Creative Commons."""
        letters = "".join(filter(str.isalpha, self.name.lower()))
        return not any(word in letters for word in ("noncommercial", "noderiv", "allrights"))


@dataclass(frozen=True)
class CaptionedImages:
    """All images that have a caption.

    Attributes:
        images: columns IMAGES, a row an image, ordered by image id.
        captions: caption_id int64, image_row int32 (a row of `images`), text string; in no order.
            Stray whitespace and newlines inside texts are collapsed.
        licences: name and address of each licence, by the id that images have it by.
        left_out: how much stands in the files and is of no use, under the names of LEFT_OUT.
    """

    images: pa.Table
    captions: pa.Table
    licences: Mapping[int, Licence]
    left_out: Mapping[str, int]

    def without(self, places: np.ndarray) -> "CaptionedImages":
        """The same without the captions at some places, and without images that had no other."""
        captions = self.captions.filter(_all_but(places, len(self.captions)))
        kept = np.unique(captions["image_row"].to_numpy())
        rows = np.searchsorted(kept, captions["image_row"].to_numpy()).astype(np.int32)
        place = captions.schema.get_field_index("image_row")
        captions = captions.set_column(place, "image_row", pa.array(rows))
        return replace(self, images=self.images.take(kept), captions=captions)

    def captions_by_image(self, rows: np.ndarray) -> Callable[[slice], pa.ListArray]:
        """What gives the captions of the images at some of these rows, which ascend.

        Of each image (id, text), by id.
        """
        of_image = self.captions["image_row"].to_numpy()
        columns = in_one_piece(self.captions)
        ids, texts = (columns[name].chunk(0) for name in ("caption_id", "text"))
        order = np.lexsort((ids.to_numpy(), of_image)).astype(np.int32)
        starts, ends = (np.searchsorted(of_image[order], rows, side) for side in ("left", "right"))

        def of(at: slice) -> pa.ListArray:
            counts = ends[at] - starts[at]
            places = np.concatenate(
                [np.empty(0, int), *map(np.arange, starts[at].tolist(), ends[at].tolist())]
            )
            found = [column.take(pa.array(order[places])) for column in (ids, texts)]
            pairs = pa.StructArray.from_arrays(found, ["caption_id", "text"])
            offsets = np.append(0, counts.cumsum())
            return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pairs)

        return of


def read_captions(folder: Path) -> CaptionedImages:
    """Read the captions files in `folder`; see `captioned_images`."""
    splits = present_splits(folder)
    if not splits:
        raise DataError(f"{folder} holds no captions files: run the annotations stage (dvc repro)")
    read = captioned_images(
        open_document(annotation_file(folder, "captions", split), "captions", split)
        for split in splits
    )
    read = replace(read, captions=in_one_piece(read.captions))
    give_back_memory()  # of the pieces
    return read


@exact_memory()
def captioned_images(documents: Iterable[Document]) -> CaptionedImages:
    """Join images and captions of all source splits; each document is let go before the next.

    Raises:
        DataError: there is none, or val2017 alone; a record lacks a field or holds a value of
            another type; two have one id.
    """
    left_out = Counter(dict.fromkeys(LEFT_OUT, 0))
    licences: dict[int, Licence] = {}
    read: dict[SourceSplit, str] = {}
    parts = []
    for document in documents:
        parts.append(_joined(document, left_out))
        licences |= _licences_of(document)
        read[document.split] = document.told
    require_train(read)
    told = " and ".join(read.values())
    images, captions = (pa.concat_tables(tables) for tables in zip(*parts, strict=True))
    require_unique(images["image_id"].to_numpy(), "image", told)
    require_unique(captions["caption_id"].to_numpy(), "caption", told)
    ids = images["image_id"].to_numpy()
    if (ids[1:] < ids[:-1]).any():
        images = images.sort_by("image_id")
    rows = np.searchsorted(np.sort(ids), captions["image_id"].to_numpy()).astype(np.int32)
    captions = captions.drop(["image_id"]).append_column("image_row", pa.array(rows))
    return CaptionedImages(images, captions, licences, left_out)


def _joined(document: Document, left_out: Counter[str]) -> tuple[pa.Table, pa.Table]:
    """Images that have captions, and captions that have an image; the others are counted alone."""
    captions = _captions_of(document, left_out)
    give_back_memory()  # of the records that they were
    images = _images_of(document)
    image_ids, of_captions = images["image_id"].to_numpy(), captions["image_id"].to_numpy()
    captioned, shown = np.isin(image_ids, of_captions), np.isin(of_captions, image_ids)
    left_out["images_without_caption"] += len(np.unique(image_ids[~captioned]))
    left_out["captions_without_image"] += int((~shown).sum())
    return _only(images, captioned), _only(captions, shown)


def _only(table: pa.Table, kept: np.ndarray) -> pa.Table:
    """Some rows of a table; where they are all, it is not copied."""
    return table if kept.all() else table.filter(pa.array(kept))


def _all_but(places: np.ndarray, count: int) -> pa.Array:
    kept = np.ones(count, bool)
    kept[places] = False
    return pa.array(kept)


def _licences_of(document: Document) -> dict[int, Licence]:
    """Those of the file that can be told; what a licence is called decides nothing."""
    listed = document.file.head.get("licenses")
    found: dict[int, Licence] = {}
    for place, record in enumerate(listed if isinstance(listed, list) else ()):
        try:
            told = _LICENCE.validate_python(record)
        except ValidationError as error:
            logger.warning("%s: %s", document.told, told_problem(error, f"licenses[{place}]"))
        else:
            found[told["id"]] = Licence(told["name"], told.get("url") or "")
    return found


def _images_of(document: Document) -> pa.Table:
    keys = {name: _KEYS.get(name, name) for name in IMAGES.names}
    tables = [
        pa.table(
            {name: [record.get(key) for record in batch] for name, key in keys.items()},
            schema=IMAGES,
        )
        for batch in batches(document, "images", _IMAGES)
    ]
    images = pa.concat_tables([IMAGES.empty_table(), *tables])
    given = {"source_split": pa.repeat(document.split, len(images))}
    given |= {name: images[name].fill_null("") for name in ("coco_url", "flickr_url")}
    return pa.table({name: given.get(name, images[name]) for name in IMAGES.names}, schema=IMAGES)


def _captions_of(document: Document, left_out: Counter[str]) -> pa.Table:
    """Those with a word; the others are counted alone."""
    tables = [
        pa.table(
            {
                "caption_id": [record["id"] for record in batch],
                "image_id": [record["image_id"] for record in batch],
                "text": [" ".join(record["caption"].split()) for record in batch],
            },
            schema=CAPTIONS,
        )
        for batch in batches(document, "annotations", _CAPTIONS)
    ]
    captions = pa.concat_tables([CAPTIONS.empty_table(), *tables])
    worded = pc.not_equal(captions["text"], "").to_numpy()
    left_out["empty_captions"] += int((~worded).sum())
    return _only(captions, worded)

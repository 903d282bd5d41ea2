"""COCO 2017's layout: which annotation files there are, and what an image with its captions is.

One file a kind and source split, in COCO's own layout:

- `captions_SPLIT.json`: `images` (id, file_name, width, height, license, coco_url, flickr_url),
  `annotations` (id, image_id, caption). See data/captions.py.
- `instances_SPLIT.json`: the same images; boxes, masks and categories. See data/instances.py.
- `attributes_SPLIT.json`: only for drawn scenes. See data/attributes.py.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bucolic.base.errors import DataError
from bucolic.data.names import require_below

SourceSplit = Literal["train2017", "val2017"]
SOURCE_SPLITS: tuple[SourceSplit, ...] = ("train2017", "val2017")
Kind = Literal["captions", "instances", "attributes"]
KINDS: tuple[Kind, ...] = ("captions", "instances", "attributes")


@dataclass(frozen=True, slots=True)
class Caption:
    """One caption; stray whitespace and newlines inside COCO's texts are collapsed."""

    caption_id: int
    text: str


@dataclass(frozen=True, slots=True)
class CaptionedImage:
    """One image record with all its captions, ordered by caption id.

    `licence` is the licence id of the annotation file, `width` and `height` are in pixels; each is
    None where the record has none. Whatever
    file a record was read from, split and name lead below the folder they are joined to: others
    are refused with ValueError.
    """

    image_id: int
    source_split: SourceSplit
    file_name: str
    width: int | None
    height: int | None
    licence: int | None
    coco_url: str
    flickr_url: str
    captions: tuple[Caption, ...]

    def __post_init__(self) -> None:
        if self.source_split not in SOURCE_SPLITS:
            raise ValueError(f"{self.source_split!r} is no source split")
        require_below(self.file_name)


def annotation_file(folder: Path, kind: Kind, split: SourceSplit) -> Path:
    """Path of one annotation file."""
    return folder / f"{kind}_{split}.json"


def present_splits(folder: Path) -> list[SourceSplit]:
    """The source splits whose captions are there, train2017 first."""
    return [split for split in SOURCE_SPLITS if annotation_file(folder, "captions", split).exists()]


def require_train(captions: Mapping[SourceSplit, str]) -> None:
    """Refuse a data set without captions of train2017.

    Args:
        captions: what messages call the captions file of each source split that is there.

    Raises:
        DataError: with what to do.
    """
    if not captions:
        names = " or ".join(annotation_file(Path(), "captions", s).name for s in SOURCE_SPLITS)
        raise DataError(f"no {names} in the data set: check dataset.root")
    if "train2017" not in captions:
        raise DataError(
            f"{captions['val2017']}: val2017 is the test split and captions_train2017.json is "
            "missing beside it: put it there, unpacked, or, where there is no folder train2017, "
            "rename both this file and the folder val2017 to train2017, which is then split by a "
            "hash"
        )

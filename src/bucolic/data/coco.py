"""COCO 2017 annotation files: captions, images, licences, instances, and Meadow's attributes.

The layout is COCO's own, one file a kind and source split:

- `captions_SPLIT.json`: `images` (id, file_name, width, height, license, coco_url, flickr_url),
  `annotations` (id, image_id, caption).
- `instances_SPLIT.json`: the same images; boxes, masks and categories.
- `attributes_SPLIT.json`: only for drawn scenes: `version` 1; `attributes` (name to closed list of
  values); `images` (image_id, slice, truth); `captions` (caption_id, image_id, states).
"""

import io
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from bucolic.data.names import FileName, require_below
from bucolic.errors import DataError

SourceSplit = Literal["train2017", "val2017"]
SOURCE_SPLITS: tuple[SourceSplit, ...] = ("train2017", "val2017")
ATTRIBUTES_VERSION = 1


def _whole(number: Any) -> Any:
    """Some tools write 640 as 640.0."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def _encodable(text: str) -> str:
    """Half of a surrogate pair is text to JSON and none to Parquet."""
    text.encode()
    return text


# As wide as their columns in data/selection.py.
Id = Annotated[int, Field(ge=-(2**63), lt=2**63), BeforeValidator(_whole)]
Text = Annotated[str, AfterValidator(_encodable)]
Number = Annotated[int, Field(ge=-(2**31), lt=2**31), BeforeValidator(_whole)]


@dataclass(frozen=True)
class Caption:
    """One caption; stray whitespace and newlines inside COCO's texts are collapsed."""

    caption_id: int
    text: str


@dataclass(frozen=True)
class CaptionedImage:
    """One image record with all its captions, ordered by caption id.

    `licence` is the licence id of the annotation file, None where the record has none. Whatever
    file a record was read from, split and name lead below the folder they are joined to: others
    are refused with ValueError.
    """

    image_id: int
    source_split: SourceSplit
    file_name: str
    width: int
    height: int
    licence: int | None
    coco_url: str
    flickr_url: str
    captions: tuple[Caption, ...]

    def __post_init__(self) -> None:
        if self.source_split not in SOURCE_SPLITS:
            raise ValueError(f"{self.source_split!r} is no source split")
        require_below(self.file_name)


@dataclass(frozen=True)
class Attributes:
    """What a drawn scene truly shows, and what each of its captions states.

    Attributes:
        values: attribute name to its closed list of values.
        truth: image id to attribute to value; an attribute that does not apply is absent.
        slices: image id to "ordinary" or "heldout" (a combination that train2017 never shows).
        states: caption id to the attributes that this caption states, with their values.
    """

    values: dict[str, list[str]]
    truth: dict[int, dict[str, str]]
    slices: dict[int, str]
    states: dict[int, dict[str, str]]


class _Record(BaseModel):
    """A record of a captions file; a text where a number belongs would join nothing below."""

    model_config = ConfigDict(strict=True)


class _CaptionRecord(_Record):
    id: Id
    image_id: Id
    caption: Text


class _ImageRecord(_Record):
    id: Id
    file_name: Annotated[FileName, AfterValidator(_encodable)]
    width: Number
    height: Number
    license: Number | None = None
    coco_url: Text | None = None
    flickr_url: Text | None = None


_RecordKind = TypeVar("_RecordKind", bound=_Record)


def annotation_file(folder: Path, kind: str, split: SourceSplit) -> Path:
    """Path of one annotation file; `kind` is captions, instances or attributes."""
    return folder / f"{kind}_{split}.json"


def present_splits(folder: Path) -> list[SourceSplit]:
    """The source splits whose captions are there, train2017 first."""
    return [split for split in SOURCE_SPLITS if annotation_file(folder, "captions", split).exists()]


def read_json(path: Path) -> Any:
    """Read a JSON file; DataError says where it breaks off."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: check dataset.root in params.yaml") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not valid JSON ({error}): fetch it again") from None


def read_captioned_images(folder: Path) -> list[CaptionedImage]:
    """Read every image that has a caption, from all source splits there, ordered by image id.

    Raises:
        DataError: no captions file at all, broken JSON, or a record that lacks a field or holds
            a value of another type.
    """
    present = present_splits(folder)
    if not present:
        raise DataError(f"{folder} holds no captions_train2017.json or captions_val2017.json")
    images = [image for split in present for image in _read_split(folder, split)]
    _require_unique((image.image_id for image in images), "image", folder)
    _require_unique((c.caption_id for image in images for c in image.captions), "caption", folder)
    return sorted(images, key=lambda image: image.image_id)


def _require_unique(ids: Iterable[int], kind: str, folder: Path) -> None:
    """Ids join everything below, so train2017 and val2017 must not share any."""
    counts = Counter(ids)
    if repeated := [number for number, count in counts.items() if count > 1]:
        raise DataError(
            f"{folder}: {kind} id {repeated[0]} stands there {counts[repeated[0]]} times: "
            "give each its own, over train2017 and val2017 together"
        )


def _read_split(folder: Path, split: SourceSplit) -> Iterable[CaptionedImage]:
    path = annotation_file(folder, "captions", split)
    content = read_json(path)
    captions: defaultdict[int, list[Caption]] = defaultdict(list)
    for caption in _records(content, "annotations", _CaptionRecord, path):
        text = " ".join(caption.caption.split())
        captions[caption.image_id].append(Caption(caption.id, text))
    return [
        _captioned(image, split, captions[image.id])
        for image in _records(content, "images", _ImageRecord, path)
        if image.id in captions
    ]


def _records(content: Any, part: str, kind: type[_RecordKind], path: Path) -> Iterator[_RecordKind]:
    """The records of one list of the file; DataError names the first that is not as it must be."""
    wrong = f"{path} is not a COCO captions file"
    if not isinstance(content, dict) or not isinstance(content.get(part), list):
        raise DataError(f"{wrong}: it holds no list {part!r}: check dataset.root in params.yaml")
    for place, record in enumerate(content[part]):
        try:
            yield kind.model_validate(record)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join([f"{part}[{place}]", *map(str, problem["loc"])])
            lacks = problem["type"] == "missing"
            given = "" if lacks else f", not {json.dumps(problem['input'])[:60]}"
            raise DataError(f"{wrong}: {where}: {problem['msg']}{given}: mend it") from None


def _captioned(image: _ImageRecord, split: SourceSplit, captions: list[Caption]) -> CaptionedImage:
    return CaptionedImage(
        image_id=image.id,
        source_split=split,
        file_name=image.file_name,
        width=image.width,
        height=image.height,
        licence=image.license,
        coco_url=image.coco_url or "",
        flickr_url=image.flickr_url or "",
        captions=tuple(sorted(captions, key=lambda caption: caption.caption_id)),
    )


def images_by_category(folder: Path, names: Collection[str]) -> dict[str, set[int]]:
    """For each named COCO category, the ids of the images that show an instance of it.

    Raises:
        DataError: no instances file, or a name that is not one of its categories.
    """
    paths = [annotation_file(folder, "instances", split) for split in SOURCE_SPLITS]
    indexes = [_index_instances(path) for path in paths if path.exists()]
    if not indexes:
        raise DataError(f"{folder} holds no instances file, which filter.categories needs")
    found: dict[str, set[int]] = {name: set() for name in names}
    for instances in indexes:
        known = {category["name"]: category["id"] for category in instances.cats.values()}
        if unknown := sorted(set(names) - set(known)):
            raise DataError(f"filter.categories: {unknown[0]!r} is not among {sorted(known)}")
        for name in names:
            found[name].update(instances.catToImgs[known[name]])
    return found


def _index_instances(path: Path) -> Any:
    from pycocotools.coco import COCO  # noqa: PLC0415 - heavy, and only some themes need it

    instances = COCO()
    instances.dataset = read_json(path)
    with redirect_stdout(io.StringIO()):  # pycocotools announces each step
        instances.createIndex()
    return instances


def read_attributes(folder: Path, split: SourceSplit) -> Attributes | None:
    """Read the attributes of one source split, or None where the data set has none.

    Raises:
        DataError: broken JSON or an unknown version.
    """
    path = annotation_file(folder, "attributes", split)
    if not path.exists():
        return None
    content = read_json(path)
    if content.get("version") != ATTRIBUTES_VERSION:
        raise DataError(f"{path} has version {content.get('version')}, not {ATTRIBUTES_VERSION}")
    return Attributes(
        values=content["attributes"],
        truth={image["image_id"]: image["truth"] for image in content["images"]},
        slices={image["image_id"]: image["slice"] for image in content["images"]},
        states={caption["caption_id"]: caption["states"] for caption in content["captions"]},
    )

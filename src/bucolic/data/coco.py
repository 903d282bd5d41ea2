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
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
)

from bucolic.base.errors import DataError
from bucolic.base.keywords import plain
from bucolic.data.names import FileName, require_below

SourceSplit = Literal["train2017", "val2017"]
SOURCE_SPLITS: tuple[SourceSplit, ...] = ("train2017", "val2017")
Kind = Literal["captions", "instances", "attributes"]
KINDS: tuple[Kind, ...] = ("captions", "instances", "attributes")
ATTRIBUTES_VERSION = 1


PACKED = {
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"\x28\xb5\x2f\xfd": "zstandard",
}
LEFT_OUT = ("images_without_caption", "captions_without_image", "empty_captions")
MEND = "mend it in dataset.root"  # where the file came from, if what was read is a copy
EXACT = 2**53  # above it, floats are no longer each whole number


def _respelt(record: Any) -> Any:
    """A record with numbers as numbers: some tools write 640.0, or a licence's number as text."""
    if not isinstance(record, dict):
        return record
    whole = {key: _whole(value) for key, value in record.items()}
    if isinstance(name := record.get("license"), str):
        whole["license"] = int(name) if name.strip().isdecimal() else None
    return whole


def _whole(value: Any) -> Any:
    is_whole = isinstance(value, float) and value.is_integer() and abs(value) <= EXACT
    return int(value) if is_whole else value


def _encodable(text: str) -> str:
    """Half of a surrogate pair is text to JSON and none to Parquet."""
    text.encode()
    return text


# As wide as their columns in data/selection.py.
Id = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Number = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Text = Annotated[str, AfterValidator(_encodable)]


@dataclass(frozen=True)
class Caption:
    """One caption; stray whitespace and newlines inside COCO's texts are collapsed."""

    caption_id: int
    text: str


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Document:
    """The content of one annotation file; `told` is what messages call that file."""

    kind: Kind
    split: SourceSplit
    content: Any
    told: str


@dataclass(frozen=True)
class CaptionedImages:
    """All images that have a caption, ordered by image id.

    `left_out` counts what stands in the files and is of no use, under the names of LEFT_OUT.
    """

    images: list[CaptionedImage]
    left_out: Mapping[str, int]


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
    """A record of an annotation file; a text where a number belongs would join nothing below."""

    model_config = ConfigDict(strict=True)


class _CaptionRecord(_Record):
    id: Id
    image_id: Id
    caption: Text


class _ImageRecord(_Record):
    id: Id
    file_name: Annotated[FileName, AfterValidator(_encodable)]
    width: Number | None = None
    height: Number | None = None
    license: Number | None = None
    coco_url: Text | None = None
    flickr_url: Text | None = None


class _CategoryRecord(_Record):
    id: Id
    name: Text


class _InstanceRecord(_Record):
    image_id: Id
    category_id: Id


class _SceneRecord(_Record):
    image_id: Id
    slice: str
    truth: dict[str, str]


class _StatesRecord(_Record):
    caption_id: Id
    states: dict[str, str]


_VALUES: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])
_RecordKind = TypeVar("_RecordKind", bound=_Record)


def annotation_file(folder: Path, kind: Kind, split: SourceSplit) -> Path:
    """Path of one annotation file."""
    return folder / f"{kind}_{split}.json"


def present_splits(folder: Path) -> list[SourceSplit]:
    """The source splits whose captions are there, train2017 first."""
    return [split for split in SOURCE_SPLITS if annotation_file(folder, "captions", split).exists()]


def read_json(path: Path) -> Any:
    """Read a JSON file; DataError says where it breaks off."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError:
        raise DataError(f"{path} is missing: check dataset.root in params.yaml") from None


def parse_json(content: bytes, told: str) -> Any:
    """Parse a JSON file in UTF-8, 16 or 32, with or without a byte order mark.

    Raises:
        DataError: it is no JSON, or gives one key two values; `told` names the file there.
    """
    if packed := next((name for start, name in PACKED.items() if content.startswith(start)), None):
        raise DataError(f"{told} is packed ({packed}): unpack it")
    try:
        return json.loads(content, object_pairs_hook=_without_repetition)
    except UnicodeDecodeError as error:
        raise DataError(f"{told} is not valid UTF-8 ({error}): save it as UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{told} is not valid JSON ({error}): mend it or fetch it again") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ValueError(
            f"the key {max(counts, key=counts.__getitem__)!r} stands twice in a record"
        )
    return content


def read_captions(folder: Path) -> CaptionedImages:
    """Read the captions files in `folder`; see `captioned_images`."""
    paths = {split: annotation_file(folder, "captions", split) for split in present_splits(folder)}
    if not paths:
        raise DataError(f"{folder} holds no captions files: run the annotations stage (dvc repro)")
    return captioned_images(
        Document("captions", split, read_json(path), str(path)) for split, path in paths.items()
    )


def captioned_images(documents: Iterable[Document]) -> CaptionedImages:
    """Join images and captions of all source splits; each document is let go before the next.

    Raises:
        DataError: there is none, or val2017 alone; a record lacks a field or holds a value of
            another type; two have one id.
    """
    images: list[CaptionedImage] = []
    left_out = Counter(dict.fromkeys(LEFT_OUT, 0))
    read: dict[SourceSplit, str] = {}
    for document in documents:
        images += _images_of(document, left_out)
        read[document.split] = document.told
    require_train(read)
    told = " and ".join(read.values())
    _require_unique((image.image_id for image in images), "image", told)
    _require_unique((c.caption_id for image in images for c in image.captions), "caption", told)
    images.sort(key=lambda image: image.image_id)
    return CaptionedImages(images, left_out)


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


def _require_unique(ids: Iterable[int], kind: str, told: str) -> None:
    """Ids join everything below, so train2017 and val2017 must not share any."""
    counts = Counter(ids)
    if len(counts) == counts.total():
        return
    number, count = next((number, count) for number, count in counts.items() if count > 1)
    raise DataError(
        f"{told}: {kind} id {number} stands there {count} times: give each its own, over all files"
    )


def _images_of(document: Document, left_out: Counter[str]) -> list[CaptionedImage]:
    captions = _captions_of(document, left_out)
    images: list[CaptionedImage] = []
    known: set[int] = set()
    for image in _records(document, "images", _ImageRecord):
        known.add(image.id)
        if image.id in captions:
            images.append(_captioned(image, document.split, captions[image.id]))
    left_out["images_without_caption"] += len(known - captions.keys())
    left_out["captions_without_image"] += sum(len(captions[i]) for i in captions.keys() - known)
    return images


def _captions_of(document: Document, left_out: Counter[str]) -> dict[int, list[Caption]]:
    """The captions of each image id; those without a word are counted alone."""
    captions: defaultdict[int, list[Caption]] = defaultdict(list)
    for caption in _records(document, "annotations", _CaptionRecord):
        if text := " ".join(caption.caption.split()):
            captions[caption.image_id].append(Caption(caption.id, text))
        else:
            left_out["empty_captions"] += 1
    return captions


def _records(document: Document, part: str, kind: type[_RecordKind]) -> Iterator[_RecordKind]:
    """The records of one list of the file; DataError names the first that is not as it must be."""
    content = document.content
    if not isinstance(content, dict) or not isinstance(content.get(part), list):
        raise _wrong(document, f"it holds no list {part!r}: check dataset.root in params.yaml")
    for place, record in enumerate(content[part]):
        try:
            yield _validated(kind, record)
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join([f"{part}[{place}]", *map(str, problem["loc"])])
            lacks = problem["type"] == "missing"
            given = "" if lacks else f", not {json.dumps(problem['input'])[:60]}"
            raise _wrong(document, f"{where}: {problem['msg']}{given}: {MEND}") from None


def _validated(kind: type[_RecordKind], record: Any) -> _RecordKind:
    try:
        return kind.model_validate(record)
    except ValidationError:
        return kind.model_validate(_respelt(record))


def _wrong(document: Document, what: str) -> DataError:
    return DataError(f"{document.told} is not a COCO {document.kind} file: {what}")


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

    A category may stand in one split's file alone, and its name in another case.

    Raises:
        DataError: no instances file, a record that is not as it must be, or a name that is no
            category of any file.
    """
    paths = {split: annotation_file(folder, "instances", split) for split in SOURCE_SPLITS}
    there = {split: path for split, path in paths.items() if path.exists()}
    if not there:
        raise DataError(f"{folder} holds no instances file, which filter.categories needs")
    found: defaultdict[str, set[int]] = defaultdict(set)
    known: dict[str, str] = {}
    for split, path in there.items():
        document = Document("instances", split, read_json(path), str(path))
        categories = _categories_of(document)
        known |= {plain(name): name for name in categories.values()}
        for category_id, ids in _index_instances(document, categories).items():
            found[plain(categories[category_id])] |= ids
    _require_known(names, known)
    return {name: found[plain(name)] for name in names}


def _require_known(names: Iterable[str], known: Mapping[str, str]) -> None:
    if unknown := sorted(name for name in names if plain(name) not in known):
        near = get_close_matches(plain(unknown[0]), known, 1)
        meant = f": did you mean {known[near[0]]!r}?" if near else ""
        among = sorted(known.values())
        raise DataError(f"filter.categories: {unknown[0]!r} is not among {among}{meant}")


def check_document(document: Document) -> None:
    """Check every record of an instances or attributes file; captions: see `captioned_images`.

    Raises:
        DataError: the first record that is not as it must be.
    """
    if document.kind == "instances":
        for _ in _instances_of(document, _categories_of(document)):
            pass
    elif document.kind == "attributes":
        _attributes_of(document)


def _categories_of(document: Document) -> dict[int, str]:
    records = list(_records(document, "categories", _CategoryRecord))
    _require_unique((record.id for record in records), "category", document.told)
    return {record.id: record.name for record in records}


def _index_instances(document: Document, categories: Mapping[int, str]) -> dict[int, set[int]]:
    """Category id to the ids of the images that show it."""
    from pycocotools.coco import COCO  # noqa: PLC0415 - heavy, and only some themes need it

    instances = COCO()
    # pycocotools asks for more than is needed here, and checks none of it.
    instances.dataset = {
        "annotations": [
            {"id": place, **record.model_dump()}
            for place, record in enumerate(_instances_of(document, categories))
        ],
        "categories": [{"id": number} for number in categories],
    }
    with redirect_stdout(io.StringIO()):  # pycocotools announces each step
        instances.createIndex()
    return {number: set(instances.catToImgs[number]) for number in categories}


def _instances_of(document: Document, categories: Mapping[int, str]) -> Iterator[_InstanceRecord]:
    for place, record in enumerate(_records(document, "annotations", _InstanceRecord)):
        if (number := record.category_id) not in categories:
            where = f"annotations[{place}].category_id"
            raise _wrong(document, f"{where}: {number} is none of its categories: {MEND}")
        yield record


def read_attributes(folder: Path, split: SourceSplit) -> Attributes | None:
    """Read the attributes of one source split, or None where the data set has none.

    Raises:
        DataError: broken JSON, an unknown version, or a record that is not as it must be.
    """
    path = annotation_file(folder, "attributes", split)
    if not path.exists():
        return None
    return _attributes_of(Document("attributes", split, read_json(path), str(path)))


def _attributes_of(document: Document) -> Attributes:
    version = document.content.get("version") if isinstance(document.content, dict) else None
    if version != ATTRIBUTES_VERSION:
        raise DataError(f"{document.told} has version {version}, not {ATTRIBUTES_VERSION}")
    images = list(_records(document, "images", _SceneRecord))
    return Attributes(
        values=_values_of(document),
        truth={image.image_id: image.truth for image in images},
        slices={image.image_id: image.slice for image in images},
        states={
            caption.caption_id: caption.states
            for caption in _records(document, "captions", _StatesRecord)
        },
    )


def _values_of(document: Document) -> dict[str, list[str]]:
    try:
        return _VALUES.validate_python(document.content.get("attributes"))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(["attributes", *map(str, problem["loc"])])
        raise _wrong(document, f"{where}: {problem['msg']}: {MEND}") from None

"""attributes_SPLIT.json: what a drawn scene truly shows, and what each of its captions states.

`version` 1; `attributes` (name to closed list of values); `images` (image_id, slice, truth);
`captions` (caption_id, image_id, states).
"""

from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from bucolic.base.errors import DataError
from bucolic.data.coco import SourceSplit, annotation_file
from bucolic.data.records import STRICT, Document, Id, Text, batches, open_document, told_problem

VERSION = 1


class _SceneRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    image_id: Id
    slice: Text
    truth: dict[Text, Text]


class _StatesRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    caption_id: Id
    states: dict[Text, Text]


_SCENES, _STATES = TypeAdapter(list[_SceneRecord]), TypeAdapter(list[_StatesRecord])
_VALUES: TypeAdapter[dict[str, list[str]]] = TypeAdapter(dict[str, list[str]])


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


def read_attributes(folder: Path, split: SourceSplit) -> Attributes | None:
    """Read the attributes of one source split, or None where the data set has none.

    Raises:
        DataError: broken JSON, an unknown version, or a record that is not as it must be.
    """
    path = annotation_file(folder, "attributes", split)
    return attributes_of(open_document(path, "attributes", split)) if path.exists() else None


def attributes_of(document: Document) -> Attributes:
    """The content of an attributes file; see `read_attributes`."""
    head = document.file.head
    version = head.get("version") if isinstance(head, dict) else None
    if version != VERSION:
        raise DataError(f"{document.told} has version {version}, not {VERSION}")
    scenes = [scene for batch in batches(document, "images", _SCENES) for scene in batch]
    captions = [caption for batch in batches(document, "captions", _STATES) for caption in batch]
    return Attributes(
        values=_values_of(document),
        truth={scene["image_id"]: scene["truth"] for scene in scenes},
        slices={scene["image_id"]: scene["slice"] for scene in scenes},
        states={caption["caption_id"]: caption["states"] for caption in captions},
    )


def _values_of(document: Document) -> dict[str, list[str]]:
    try:
        return _VALUES.validate_python(document.file.head.get("attributes"))
    except ValidationError as error:
        raise document.error(told_problem(error, "attributes")) from None

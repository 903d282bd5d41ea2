"""instances_SPLIT.json: which images show which of COCO's categories, and where in them."""

import io
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NotRequired

import numpy as np
from pydantic import TypeAdapter
from typing_extensions import TypedDict

from bucolic.base.errors import DataError
from bucolic.base.keywords import plain
from bucolic.data.coco import SOURCE_SPLITS, annotation_file
from bucolic.data.records import (
    MEND,
    STRICT,
    Document,
    Id,
    Text,
    batches,
    open_document,
    require_unique,
)
from bucolic.data.squares import Subject

if TYPE_CHECKING:
    from pycocotools.coco import COCO


class _CategoryRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    id: Id
    name: Text


class _InstanceRecord(TypedDict):
    __pydantic_config__ = STRICT  # type: ignore[misc]
    image_id: Id
    category_id: Id
    # Looked at where a param asks for them alone: what is amiss there harms no other theme.
    area: NotRequired[Any]
    bbox: NotRequired[Any]
    iscrowd: NotRequired[Any]


_CATEGORIES, _INSTANCES = TypeAdapter(list[_CategoryRecord]), TypeAdapter(list[_InstanceRecord])


class Box(NamedTuple):
    """A part of a picture, in pixels of the annotated size."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True)
class Shown:
    """What the images of a data set show of some categories.

    Attributes:
        images: for each category the ids of the images that show an instance of it.
        boxes: for each of those images where its instances are, as far as they say so; of crowds
            where nothing else is.
    """

    images: dict[str, set[int]]
    boxes: dict[int, list[Box]]


def shown_instances(folder: Path, names: Collection[str], *, min_area: float = 0) -> Shown:
    """Find the instances of the named COCO categories.

    A category may stand in one split's file alone, and its name in another case.

    Args:
        folder: of annotation files.
        names: of categories.
        min_area: least area of an instance that counts, in pixels of the annotated size.

    Raises:
        DataError: no instances file, a record that is not as it must be, or a name that is no
            category of any file.
    """
    paths = {split: annotation_file(folder, "instances", split) for split in SOURCE_SPLITS}
    there = {split: path for split, path in paths.items() if path.exists()}
    if not there:
        raise DataError(
            f"{folder} holds no instances file, which filter.categories needs: dvc repro "
            "annotations gets it where the data set has one"
        )
    wanted = {plain(name) for name in names}
    found: defaultdict[str, set[int]] = defaultdict(set)
    boxes_of: defaultdict[int, list[Box]] = defaultdict(list)
    known: dict[str, str] = {}
    for split, path in there.items():
        document = open_document(path, "instances", split)
        categories = _categories_of(document)
        known |= {plain(name): name for name in categories.values()}
        asked = {number for number, name in categories.items() if plain(name) in wanted}
        index = _index(document, categories, asked, min_area)
        for number in asked:
            found[plain(categories[number])].update(index.catToImgs[number])
        for image_id, instances in index.imgToAnns.items():
            boxes_of[image_id] += _boxes(instances)
    _require_known(names, known)
    return Shown({name: found[plain(name)] for name in names}, boxes_of)


def subject_of(boxes: Sequence[Box], width: int | None, height: int | None) -> Subject | None:
    """Where the square about a picture's subject should lie: none without a box, or without a size.

    Its centre is that of all boxes where a square of the shorter side can hold them, and else that
    of the largest of them.
    """
    if not (boxes and width and height):
        return None
    around = _around(boxes)
    if max(around.width, around.height) > min(width, height):
        around = max(boxes, key=lambda box: (box.width * box.height, box))
    x, y = around.left + around.width / 2, around.top + around.height / 2
    return Subject(x, y, width, height)


def _around(boxes: Sequence[Box]) -> Box:
    left, top = min(box.left for box in boxes), min(box.top for box in boxes)
    right = max(box.left + box.width for box in boxes)
    bottom = max(box.top + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)


def _boxes(instances: Sequence[Mapping[str, Any]]) -> list[Box]:
    """Where the instances are; a crowd's box holds what is between its members, and comes second.

    COCO marks as a crowd what its annotators did not tell apart.
    """
    alone = [instance for instance in instances if not instance.get("iscrowd")]
    found = (_box(instance.get("bbox")) for instance in alone or instances)
    return [box for box in found if box]


def _box(found: object) -> Box | None:
    """Four finite numbers, of which two are a size; None for anything else."""
    if not isinstance(found, list) or len(found) != len(Box._fields):
        return None
    if not all(map(_is_number, found)):
        return None
    box = Box(*map(float, found))
    return box if box.width > 0 and box.height > 0 else None


def _require_known(names: Iterable[str], known: Mapping[str, str]) -> None:
    if unknown := sorted(name for name in names if plain(name) not in known):
        near = get_close_matches(plain(unknown[0]), known, 1)
        meant = f": did you mean {known[near[0]]!r}?" if near else ""
        among = sorted(known.values())
        raise DataError(f"filter.categories: {unknown[0]!r} is not among {among}{meant}")


def _index(
    document: Document, categories: Mapping[int, str], asked: Collection[int], min_area: float
) -> "COCO":
    """The instances of the categories asked for, as pycocotools indexes them."""
    from pycocotools.coco import COCO  # noqa: PLC0415 - heavy, and only some themes need it

    index = COCO()
    # pycocotools asks for more than is needed here, and checks none of it.
    index.dataset = {
        "annotations": [
            {"id": place, **instance}
            for place, instance in enumerate(_instances_of(document, categories))
            if instance["category_id"] in asked
            and (not min_area or _area(document, place, instance) >= min_area)
        ],
        "categories": [{"id": number} for number in categories],
    }
    with redirect_stdout(io.StringIO()):  # pycocotools announces each step
        index.createIndex()
    return index


def check_instances(document: Document) -> None:
    """Read a file to its end.

    Raises:
        DataError: the first record that is not as it must be.
    """
    for _ in _instances_of(document, _categories_of(document)):
        pass


def _categories_of(document: Document) -> dict[int, str]:
    """The names of its categories by their ids."""
    records = [record for batch in batches(document, "categories", _CATEGORIES) for record in batch]
    require_unique(np.array([record["id"] for record in records]), "category", document.told)
    return {record["id"]: record["name"] for record in records}


def _instances_of(document: Document, categories: Mapping[int, str]) -> Iterator[_InstanceRecord]:
    """Each instance.

    Raises:
        DataError: a record is not as it must be, or of no category of the file.
    """
    place = 0
    for batch in batches(document, "annotations", _INSTANCES):
        for record in batch:
            if (number := record["category_id"]) not in categories:
                where = f"annotations[{place}].category_id"
                raise document.error(f"{where}: {number} is none of its categories: {MEND}")
            yield record
            place += 1


def _area(document: Document, place: int, instance: _InstanceRecord) -> float:
    area = instance.get("area")
    if area is None:
        raise document.error(f"annotations[{place}] has no area, which filter.min_area needs")
    if not _is_number(area):
        raise document.error(
            f"annotations[{place}].area: {area!r} is no number, which filter.min_area needs"
        )
    return float(area)


def _is_number(value: object) -> bool:
    """Whether it is one that a float can hold; JSON has no bound."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isfinite(value) if isinstance(value, float) else abs(value) <= sys.float_info.max

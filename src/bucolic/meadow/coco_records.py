"""Scenes as COCO 2017 records: images, captions, instances, and Meadow's own attributes file.

`attributes_SPLIT.json`, version 1:

- `attributes`: name to the closed list of its values, all strings;
- `images`: `image_id`, `slice` ("ordinary" or "heldout"), `truth` (attribute to value; one that
  does not apply, such as the colour where there is no animal, is absent);
- `captions`: `caption_id`, `image_id`, `states` (attribute to the value this caption states).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pycocotools import mask as masks

from bucolic.data.attributes import VERSION as ATTRIBUTES_VERSION
from bucolic.data.coco import SourceSplit
from bucolic.fetching.source import MeadowSource
from bucolic.meadow.captions import CAPTIONS_PER_IMAGE, GroundedCaption, caption_scene
from bucolic.meadow.scenes import ATTRIBUTES, CANVAS_PX, Scene, sample_scene
from bucolic.meadow.sprites import Sprite, outlines

Record = dict[str, Any]

DATE = "2017-09-01"
# Ids do not depend on the counts: a larger set keeps the ids of a smaller one.
FIRST_IDS = {"train": 1, "val": 5_000_001, "heldout": 6_000_001}
STREAMS = {"train": 0, "val": 1, "heldout": 2, "scene": 0, "words": 1}
# COCO's own ids and supercategories; its ids end at 90, so the alpaca has one beyond.
CATEGORIES = (
    (1, "person", "person"),
    (3, "car", "vehicle"),
    (9, "boat", "vehicle"),
    (15, "bench", "outdoor"),
    (18, "dog", "animal"),
    (19, "horse", "animal"),
    (20, "sheep", "animal"),
    (21, "cow", "animal"),
    (62, "chair", "furniture"),
    (63, "couch", "furniture"),
    (201, "alpaca", "animal"),
)
CATEGORY_IDS = {name: number for number, name, _ in CATEGORIES}
# COCO's licence records, with their shares in val2017.
LICENCES = (
    (1, "Attribution-NonCommercial-ShareAlike License", "by-nc-sa/2.0", 0.286),
    (2, "Attribution-NonCommercial License", "by-nc/2.0", 0.126),
    (3, "Attribution-NonCommercial-NoDerivs License", "by-nc-nd/2.0", 0.283),
    (4, "Attribution License", "by/2.0", 0.171),
    (5, "Attribution-ShareAlike License", "by-sa/2.0", 0.083),
    (6, "Attribution-NoDerivs License", "by-nd/2.0", 0.049),
    (7, "No known copyright restrictions", None, 0.001),
    (8, "United States Government Work", None, 0.001),
)
LICENCE_URLS = {
    7: "http://flickr.com/commons/usage/",
    8: "http://www.usa.gov/copyright.shtml",
}
# Details that lie within the silhouette add nothing to a mask.
WITHIN = frozenset({"eye", "light", "glass", "hair"})


@dataclass(frozen=True)
class Specimen:
    """A scene with its place in the data set."""

    image_id: int
    slice: str
    scene: Scene
    captions: tuple[GroundedCaption, ...]
    licence: int


def parts_of(split: SourceSplit) -> tuple[str, ...]:
    """The streams of scenes that a split is made of, in the order of their ids."""
    return ("train",) if split == "train2017" else ("val", "heldout")


def scene_of(source: MeadowSource, part: str, index: int) -> Scene:
    """Sample one scene; it depends on the seed, the part and the index alone."""
    rng = _generator(source, part, index, stream="scene")
    return sample_scene(rng, "heldout" if part == "heldout" else "ordinary")


def specimen(source: MeadowSource, part: str, index: int) -> Specimen:
    """Sample one scene with its captions and licence."""
    rng = _generator(source, part, index, stream="words")
    scene = scene_of(source, part, index)
    return Specimen(
        image_id=FIRST_IDS[part] + index,
        slice="heldout" if part == "heldout" else "ordinary",
        scene=scene,
        captions=caption_scene(scene, rng),
        licence=_draw_licence(rng),
    )


def file_name(image_id: int) -> str:
    """COCO's form of a file name: the id with twelve digits."""
    return f"{image_id:012d}.jpg"


def image_record(entry: Specimen, split: SourceSplit) -> Record:
    """COCO's image record; the addresses are reserved names that lead nowhere."""
    name = file_name(entry.image_id)
    return {
        "license": entry.licence,
        "file_name": name,
        "coco_url": f"http://meadow.invalid/{split}/{name}",
        "height": CANVAS_PX,
        "width": CANVAS_PX,
        "date_captured": f"{DATE} 00:00:00",
        "flickr_url": f"http://meadow.invalid/drawings/{name}",
        "id": entry.image_id,
    }


def caption_records(entry: Specimen) -> list[Record]:
    """COCO's caption records of one image."""
    return [
        {"image_id": entry.image_id, "id": caption_id, "caption": caption.text}
        for caption_id, caption in _numbered(entry)
    ]


def instance_records(entry: Specimen) -> list[Record]:
    """COCO's instance records of one image, the nearest sprite first."""
    return [
        _instance(sprite, entry.image_id, entry.image_id * 10 + number)
        for number, sprite in enumerate(reversed(entry.scene.sprites))
    ]


def truth_record(entry: Specimen) -> Record:
    """What the picture shows, for the attributes file."""
    return {"image_id": entry.image_id, "slice": entry.slice, "truth": entry.scene.truth}


def states_records(entry: Specimen) -> list[Record]:
    """What each caption states, for the attributes file."""
    return [
        {"caption_id": caption_id, "image_id": entry.image_id, "states": dict(caption.states)}
        for caption_id, caption in _numbered(entry)
    ]


def annotation_documents(
    entries: Sequence[Specimen], instances: Sequence[Record], split: SourceSplit
) -> dict[str, Record]:
    """The whole content of the captions, instances and attributes files of a split."""
    head = {
        "info": {
            "description": "Meadow: scenes drawn by bucolic, in the layout of COCO 2017",
            "url": "http://meadow.invalid",
            "version": "1.0",
            "year": 2017,
            "contributor": "bucolic",
            "date_created": DATE.replace("-", "/"),
        },
        "licenses": [
            {"url": LICENCE_URLS.get(number) or f"http://creativecommons.org/licenses/{path}/",
             "id": number, "name": name}
            for number, name, path, _ in LICENCES
        ],
        "images": [image_record(entry, split) for entry in entries],
    }  # fmt: skip
    categories = [
        {"supercategory": above, "id": number, "name": name} for number, name, above in CATEGORIES
    ]
    captions = [record for entry in entries for record in caption_records(entry)]
    return {
        "captions": head | {"annotations": captions},
        "instances": head | {"annotations": list(instances), "categories": categories},
        "attributes": {
            "version": ATTRIBUTES_VERSION,
            "attributes": {name: list(values) for name, values in ATTRIBUTES.items()},
            "images": [truth_record(entry) for entry in entries],
            "captions": [record for entry in entries for record in states_records(entry)],
        },
    }


def _generator(source: MeadowSource, part: str, index: int, *, stream: str) -> np.random.Generator:
    words = [source.seed, STREAMS[part], index, STREAMS[stream]]
    return np.random.default_rng(np.random.SeedSequence(words))


def _draw_licence(rng: np.random.Generator) -> int:
    ends = np.cumsum([share for *_, share in LICENCES])
    return LICENCES[int(np.searchsorted(ends, rng.random() * ends[-1], side="right"))][0]


def _numbered(entry: Specimen) -> list[tuple[int, GroundedCaption]]:
    first = entry.image_id * CAPTIONS_PER_IMAGE
    return [(first + number, caption) for number, caption in enumerate(entry.captions)]


def _instance(sprite: Sprite, image_id: int, number: int) -> Record:
    rounded = [np.round(polygon, 1) for tone, polygon in outlines(sprite) if tone not in WITHIN]
    segmentation = [polygon.ravel().tolist() for polygon in rounded]
    mask = masks.merge(masks.frPyObjects(segmentation, CANVAS_PX, CANVAS_PX))
    corners = np.concatenate(rounded)
    low, high = corners.min(axis=0), corners.max(axis=0)
    left, top, width, height = (round(float(v), 1) for v in (*low, *(high - low)))
    return {
        "segmentation": segmentation,
        "area": float(masks.area(mask)),
        "iscrowd": 0,
        "image_id": image_id,
        "bbox": [left, top, width, height],
        "category_id": CATEGORY_IDS[sprite.kind],
        "id": number,
    }

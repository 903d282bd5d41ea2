"""Reading COCO captions files: what a record must hold, and how one that does not is told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bucolic.base.errors import DataError
from bucolic.data.attributes import read_attributes
from bucolic.data.captions import CaptionedImages, read_captions
from bucolic.data.coco import Caption, CaptionedImage
from bucolic.data.instances import Box, shown_instances

WRONG = [
    ("images", "id", "7", 'images[6].id: Input should be a valid integer, not "7"'),
    ("images", "id", True, "images[6].id: Input should be a valid integer, not true"),
    ("images", "id", 2**63, "images[6].id: Input should be less than 9223372036854775808"),
    ("images", "license", [4], "images[6].license: Input should be a valid integer, not [4]"),
    ("images", "license", True, "images[6].license: Input should be a valid integer, not true"),
    ("images", "id", 2.0**60, "images[6].id: Input should be a valid integer"),
    ("images", "id", float("nan"), "images[6].id: Input should be a"),
    ("images", "width", float("inf"), "images[6].width: Input should be a"),
    ("images", "file_name", 7, "images[6].file_name: Input should be a valid string, not 7"),
    ("images", "width", "96", 'images[6].width: Input should be a valid integer, not "96"'),
    ("images", "width", 96.5, "images[6].width: Input should be a valid integer, not 96.5"),
    ("images", "coco_url", 1, "images[6].coco_url: Input should be a valid string, not 1"),
    ("annotations", "id", "71", 'annotations[6].id: Input should be a valid integer, not "71"'),
    ("annotations", "image_id", "4", "annotations[6].image_id: Input should be a valid integer"),
    ("annotations", "image_id", [4], "annotations[6].image_id: Input should be a valid integer"),
    ("annotations", "caption", None, "annotations[6].caption: Input should be a valid string"),
    (
        "annotations",
        "caption",
        "a \ud83d",
        "annotations[6].caption: Input should be a valid string, un",
    ),
]


def changed(folder: Path, change: Any) -> Path:
    """Change the captions file's content; returns the folder of annotations."""
    path = folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path.parent


def images_in(read: CaptionedImages) -> list[CaptionedImage]:
    """What was read, as objects."""
    captions = read.captions_by_image(np.arange(len(read.images)))(slice(None)).to_pylist()
    return [
        CaptionedImage(**record, captions=tuple(Caption(**caption) for caption in of_image))
        for record, of_image in zip(read.images.to_pylist(), captions, strict=True)
    ]


@pytest.mark.parametrize(("part", "key", "value", "said"), WRONG)
def test_a_value_of_another_type_is_told_with_its_record(
    coco_folder: Path, part: str, key: str, value: Any, said: str
):
    """One line names the file, the record and the key."""
    folder = changed(coco_folder, lambda content: content[part][6].update({key: value}))
    with pytest.raises(DataError) as caught:
        read_captions(folder)
    assert said in str(caught.value)
    assert "captions_train2017.json is not a COCO captions file: " in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda content: content["images"][6].pop("file_name"),
            "images[6].file_name: Field required: mend",
        ),
        (lambda content: content["annotations"].insert(2, 5), "annotations[2]: Input should be"),
        (lambda content: content.pop("images"), "images"),
        (lambda content: content.update(annotations=None), "annotations"),
    ],
)
def test_a_record_that_lacks_its_place_is_told(coco_folder: Path, change: Any, said: str):
    """A key that is missing, a record that is none and a list that is none are named."""
    with pytest.raises(DataError) as caught:
        read_captions(changed(coco_folder, change))
    assert said in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_what_a_record_may_leave_out(coco_folder: Path):
    """Licence and addresses may be absent or null, and keys of others are passed over."""

    def change(content: Any) -> None:
        content["images"][0].pop("license")
        content["images"][0]["surprise"] = 1
        content["images"][2].update(width=96.0)
        content["images"][1].update(license=None, coco_url=None, flickr_url="f")

    first, second, third = images_in(read_captions(changed(coco_folder, change)))[:3]
    assert (None, "", "") == (first.licence, first.coco_url, first.flickr_url)
    assert (None, "", "f") == (second.licence, second.coco_url, second.flickr_url)
    assert (4, 96, 72) == (third.licence, third.width, third.height)
    assert (Caption(30, "A chill place"), Caption(31, "A thing")) == third.captions


def test_numbers_are_numbers_however_they_are_written(coco_folder: Path):
    """Whole floats, 64 bits and negative ids are read; sizes may be absent, licences be text."""

    def change(content: Any) -> None:
        ids = {1: 1.0, 2: 2**63 - 1, 3: -(2**63)}
        for caption in content["annotations"]:
            caption["image_id"] = ids.get(caption["image_id"], caption["image_id"])
        for image in content["images"][:3]:
            image["id"] = ids[image["id"]]
        content["images"][0].update(width=96.0, height=None, license="3")
        content["images"][1].pop("width")
        content["images"][1].update(license="CC BY 4.0")
        content["annotations"][0]["id"] = 10.0
        content.pop("licenses", None)

    read = read_captions(changed(coco_folder, change))
    images = images_in(read)
    by_id = {image.image_id: image for image in images}
    assert -(2**63) == images[0].image_id
    assert (96, None, 3) == (by_id[1].width, by_id[1].height, by_id[1].licence)
    assert 10 == by_id[1].captions[0].caption_id
    assert int is type(by_id[1].captions[0].caption_id)
    largest = by_id[2**63 - 1]
    assert (None, 72, None) == (largest.width, largest.height, largest.licence)


def test_images_are_in_the_order_of_their_ids_however_far_apart(coco_folder: Path):
    """The widest ids that there can be, in the wrong order."""

    def change(content: Any) -> None:
        content["images"] = content["images"][:2]
        content["annotations"] = content["annotations"][:4]
        for image, number in zip(content["images"], (2**63 - 1, -(2**63)), strict=True):
            for caption in content["annotations"]:
                if caption["image_id"] == image["id"]:
                    caption["image_id"] = number
            image["id"] = number

    first, second = images_in(read_captions(changed(coco_folder, change)))
    assert (-(2**63), 2**63 - 1) == (first.image_id, second.image_id)
    said = (first.captions[0].text, second.captions[0].text)
    assert ("Two sheep near a fence", "A red car") == said


def test_what_is_of_no_use_is_counted(coco_folder: Path):
    """Images without a caption, captions of no image and captions without a word are left out."""

    def change(content: Any) -> None:
        content["images"].append({"id": 99, "file_name": "99.jpg"})
        content["annotations"].append({"id": 990, "image_id": 77, "caption": "a cow"})
        content["annotations"][0]["caption"] = " \n\u00a0"

    read = read_captions(changed(coco_folder, change))
    assert 40 == len(read.images)
    first = images_in(read)[0]
    assert ("A thing",) == tuple(caption.text for caption in first.captions)
    assert {
        "images_without_caption": 1,
        "captions_without_image": 1,
        "empty_captions": 1,
    } == read.left_out


CATEGORIES = [{"id": 21, "name": "cow"}, {"id": 20, "name": "sheep"}]


def instances(coco_folder: Path, split: str, *boxes: tuple[int, int], **changes: Any) -> Path:
    """Write an instances file of (image id, category id) boxes; returns the folder."""
    content = {
        "categories": CATEGORIES,
        "annotations": [{"image_id": i, "category_id": c, "bbox": []} for i, c in boxes],
        **changes,
    }
    path = coco_folder / f"annotations/instances_{split}.json"
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))
    return path.parent


def test_a_category_may_stand_in_one_split_alone(coco_folder: Path):
    """Each name is taken from the files that have it, under the number it has there."""
    instances(coco_folder, "train2017", (1, 21), (2, 20), (2, 21), (2, 21))
    folder = instances(
        coco_folder,
        "val2017",
        (7, 3),
        (8, 4),
        categories=[{"id": 3, "name": "Sheep"}, {"id": 4, "name": "car"}],
    )
    found = shown_instances(folder, ["COW", "sheep", "car"]).images
    assert {"COW": {1, 2}, "sheep": {2, 7}, "car": {8}} == found


def test_an_unknown_category_is_told_with_the_nearest(coco_folder: Path):
    """The one line lists the categories of all files and what may have been meant."""
    instances(coco_folder, "train2017", (1, 21))
    folder = instances(
        coco_folder, "val2017", categories=[{"id": 4, "name": "car"}], annotations=[]
    )
    with pytest.raises(DataError) as caught:
        shown_instances(folder, ["cow", "sheeps"])
    assert (
        "filter.categories: 'sheeps' is not among ['car', 'cow', 'sheep']: did you mean 'sheep'?"
        == str(caught.value)
    )
    with pytest.raises(DataError, match=r"'zebra' is not among \['car', 'cow', 'sheep'\]$"):
        shown_instances(folder, ["zebra"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"annotations": [{"image_id": 1}]}, "annotations[0].category_id: Field required: mend"),
        ({"annotations": [{"category_id": 20}]}, "annotations[0].image_id: Field required: mend"),
        (
            {"annotations": [{"image_id": 1, "category_id": None}]},
            "annotations[0].category_id: Input should be a valid integer, not null",
        ),
        (
            {"annotations": [{"image_id": 1, "category_id": 5}]},
            "annotations[0].category_id: 5 is none of its categories: mend",
        ),
        ({"categories": None}, "it holds no list 'categories'"),
        ({"annotations": None}, "it holds no list 'annotations'"),
        ({"categories": [{"id": 21}]}, "categories[0].name: Field required: mend"),
        ({"categories": [5]}, "categories[0]: Input should be"),
    ],
)
def test_instances_are_told_with_file_and_record(
    coco_folder: Path, changes: dict[str, Any], said: str
):
    """Boxes and categories are checked as captions are, in either split."""
    instances(coco_folder, "train2017", (1, 21))
    folder = instances(coco_folder, "val2017", **changes)
    with pytest.raises(DataError) as caught:
        shown_instances(folder, ["cow"])
    assert f"instances_val2017.json is not a COCO instances file: {said}" in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_two_categories_of_one_number_are_refused(coco_folder: Path):
    """Otherwise the boxes of one would be counted as the other's."""
    folder = instances(
        coco_folder, "train2017", categories=[*CATEGORIES, {"id": 21, "name": "car"}]
    )
    with pytest.raises(DataError, match=r"instances_train2017.json: category id 21 stands there 2"):
        shown_instances(folder, ["cow"])


ATTRIBUTES = {
    "version": 1,
    "attributes": {"species": ["cow"]},
    "images": [{"image_id": 1, "slice": "ordinary", "truth": {"species": "cow"}}],
    "captions": [{"caption_id": 10, "states": {"species": "cow"}}],
}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"images": [{"image_id": 1, "truth": {}}]}, "images[0].slice: Field required"),
        ({"images": None}, "it holds no list 'images'"),
        ({"captions": [{"caption_id": "7", "states": {}}]}, "captions[0].caption_id: Input should"),
        ({"attributes": {"species": "cow"}}, "attributes.species: Input should be a valid list"),
        ({"attributes": None}, "attributes: Input should be a valid dictionary"),
    ],
)
def test_attributes_are_told_with_file_and_record(
    coco_folder: Path, change: dict[str, Any], said: str
):
    """The attributes of drawn scenes are checked as captions are."""
    path = coco_folder / "annotations/attributes_train2017.json"
    path.write_text(json.dumps(ATTRIBUTES))
    read = read_attributes(path.parent, "train2017")
    assert read is not None
    assert ({1: {"species": "cow"}}, {10: {"species": "cow"}}) == (read.truth, read.states)
    path.write_text(json.dumps({**ATTRIBUTES, **change}))
    with pytest.raises(DataError) as caught:
        read_attributes(path.parent, "train2017")
    assert f"attributes_train2017.json is not a COCO attributes file: {said}" in str(caught.value)
    assert 1 == len(str(caught.value).splitlines())


def test_attributes_that_are_no_object_are_one_line(coco_folder: Path):
    """A list where an object belongs has no version."""
    path = coco_folder / "annotations/attributes_train2017.json"
    path.write_text("[]")
    with pytest.raises(DataError, match="has version None, not 1"):
        read_attributes(path.parent, "train2017")


@pytest.mark.parametrize("value", [10**400, -(10**400), True, "5", None])
def test_what_no_float_can_hold_is_no_place_and_no_area(coco_folder: Path, value: object):
    """JSON has no bound: a box is left out, and an area is told with its record."""
    path = instances(coco_folder, "train2017", (1, 21)) / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"bbox": [1, 2, 3, value], "area": value}
    path.write_text(json.dumps(content))
    assert shown_instances(path.parent, ["cow"]).boxes == {1: []}
    with pytest.raises(DataError, match=r"annotations\[0\].* which filter.min_area needs"):
        shown_instances(path.parent, ["cow"], min_area=1)


@pytest.mark.parametrize(("single", "expected"), [(True, [4, 5, 6, 7]), (False, [0, 0, 90, 80])])
def test_a_crowd_hides_no_single_instance(coco_folder: Path, single: bool, expected: list[int]):
    """Its box holds what is between its members: it counts where there is nothing else."""
    path = instances(coco_folder, "train2017", (1, 21), (1, 21)) / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][0] |= {"bbox": [4, 5, 6, 7], "iscrowd": int(not single)}
    content["annotations"][1] |= {"bbox": [0, 0, 90, 80], "iscrowd": 1}
    if not single:
        del content["annotations"][0]
    path.write_text(json.dumps(content))
    assert shown_instances(path.parent, ["cow"]).boxes == {1: [Box(*expected)]}

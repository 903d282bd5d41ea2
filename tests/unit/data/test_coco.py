"""Reading COCO captions files: what a record must hold, and how one that does not is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from bucolic.data.coco import Caption, read_captions
from bucolic.errors import DataError

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
    ("annotations", "caption", "a \ud83d", "surrogates not allowed"),
]


def changed(folder: Path, change: Any) -> Path:
    """Change the captions file's content; returns the folder of annotations."""
    path = folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path.parent


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

    first, second, third = read_captions(changed(coco_folder, change)).images[:3]
    assert (None, "", "") == (first.licence, first.coco_url, first.flickr_url)
    assert (None, "", "f") == (second.licence, second.coco_url, second.flickr_url)
    assert (4, 96, 72) == (third.licence, third.width, third.height)
    assert (Caption(30, "A chill place"), Caption(31, "A thing")) == third.captions

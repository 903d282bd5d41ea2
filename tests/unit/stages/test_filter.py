"""The filter stage on a small folder."""

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from bucolic.base.errors import DataError
from bucolic.base.runtime import Runtime
from bucolic.data.selection import read_selection
from bucolic.data.squares import Framing, Subject
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images


def select(folder: Path, **config: object) -> tuple[dict[int, str], dict[str, object]]:
    """Run the stage; returns split by image id, and its figures and details."""
    out = folder.parent / "selection.parquet"
    summary = select_images(
        folder / "annotations", out, out.with_name("attribution"), config=FilterConfig(**config)
    )
    told = {**summary.figures, **summary.details}
    return {row.image.image_id: row.split for row in read_selection(out)}, told


def test_every_caption_of_a_chosen_image_is_kept_clean(coco_folder: Path):
    """One matching caption chooses the image; all its captions come, whitespace collapsed."""
    select(coco_folder, keywords=("cow",))
    rows = read_selection(coco_folder.parent / "selection.parquet")
    assert [5 * k + r for k in range(9) for r in (0, 4)][1:17] == [r.image.image_id for r in rows]
    assert ["A thing"] * 16 == [row.image.captions[1].text for row in rows]
    assert {("cow",)} == {row.keywords for row in rows}


def test_order_and_repetition_of_keywords_change_no_byte(coco_folder: Path):
    """The selection is the same file for any order of the list, so that nothing reruns below."""
    out = coco_folder.parent / "selection.parquet"
    select(coco_folder, keywords=("cow", "sheep"))
    first = out.read_bytes()
    select(coco_folder, keywords=("sheep", "cow", "sheep"))
    assert first == out.read_bytes()


def test_another_theme_moves_no_image_between_splits(coco_folder: Path):
    """An image that both themes choose is on the same side of the split in both."""
    few, _ = select(coco_folder, keywords=("cow",), val_share=0.3, test_share=0.3)
    more, _ = select(coco_folder, keywords=("cow", "car"), val_share=0.3, test_share=0.3)
    assert 16 == len(few) < len(more) == 24
    assert few == {image_id: more[image_id] for image_id in few}


def test_counts_are_told_per_keyword(coco_folder: Path):
    """Each keyword's count of images is in the details, those that match nothing with zero."""
    _, figures = select(coco_folder, keywords=("cow", "sheep", "alpaca"), match="word")
    assert {"alpaca": 0, "cow": 16, "sheep": 8} == figures["keywords"]
    assert (40, 24, 48) == (figures["considered"], figures["selected"], figures["captions"])


def test_a_theme_that_selects_nothing_fails_with_the_counts(coco_folder: Path):
    """The one line names the words and how many images each split would have."""
    with pytest.raises(DataError, match=r"unicorn selects too few .*train 0, val 0, test 0"):
        select(coco_folder, keywords=("unicorn",))


def test_licences_and_minimum_of_captions_narrow_the_theme(coco_folder: Path):
    """Only allowed licences are chosen, and only images with enough matching captions."""
    chosen, _ = select(coco_folder, keywords=("thing",), licences=(1, 2, 3), val_share=0.4)
    assert {image_id for image_id in range(1, 41) if image_id % 8 < 3} == set(chosen)
    both, _ = select(coco_folder, keywords=("cow", "thing"), min_captions=2, val_share=0.4)
    assert 16 == len(both)


def test_categories_choose_images_that_no_word_does(coco_folder: Path):
    """A COCO category adds the images that show it, and an unknown one is named."""
    captions = json.loads((coco_folder / "annotations/captions_train2017.json").read_text())
    content = {
        "images": captions["images"],
        "categories": [{"id": 21, "name": "cow"}, {"id": 3, "name": "car"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 3, "bbox": [0, 0, 9, 9]}],
    }
    (coco_folder / "annotations/instances_train2017.json").write_text(json.dumps(content))
    chosen, figures = select(coco_folder, keywords=("cow",), categories=("car",))
    assert 17 == len(chosen)
    assert {"cow": 16, "car": 1} == figures["keywords"]
    with pytest.raises(DataError, match="'bus' is not among"):
        select(coco_folder, keywords=("cow",), categories=("bus",))


def test_the_selection_says_where_the_categories_are_shown(coco_folder: Path):
    """The centre of the boxes, none where a box is missing or no box, whatever chose the image."""
    boxes = {1: [10, 20, 30, 40], 2: None, 3: [5, 5, 0, 9], 6: "wide", 7: [0, 0, 20, 10]}
    instances = {
        "categories": [{"id": 21, "name": "cow"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"image_id": image, "category_id": 3, "bbox": box} for image, box in boxes.items()
        ]
        + [{"image_id": 8, "category_id": 21, "bbox": [1, 1, 2, 2]}],
    }
    (coco_folder / "annotations/instances_train2017.json").write_text(json.dumps(instances))
    select(coco_folder, keywords=("thing",), categories=("car",))
    rows = read_selection(coco_folder.parent / "selection.parquet")
    found = {row.image.image_id: row.subject for row in rows if row.subject is not None}
    assert {1: Subject(25, 40, 96, 72), 7: Subject(10, 5, 96, 72)} == found


def test_all_categories_and_large_enough_can_be_asked_for(coco_folder: Path):
    """Two categories of which an image must show both, or one of which it must show enough."""
    shown = [(1, 3, 500.0), (1, 21, 60.0), (2, 3, 10.0), (6, 21, 90)]
    content = {
        "images": [],
        "categories": [{"id": 21, "name": "cow"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"id": n, "image_id": image, "category_id": category, "area": area}
            for n, (image, category, area) in enumerate(shown)
        ],
    }
    path = coco_folder / "annotations/instances_train2017.json"
    path.write_text(json.dumps(content))
    asked: dict[str, Any] = {"keywords": ("cow",), "categories": ("car", "cow")}
    words, _ = select(coco_folder, keywords=("cow",))
    found = {
        (match, area): set(
            select(coco_folder, **asked, categories_match=match, min_area=area)[0]
        ).difference(words)
        for match in ("any", "all")
        for area in (0, 50, 100)
    }
    assert {1, 2, 6} == found["any", 0]
    assert ({1, 6}, {1}) == (found["any", 50], found["any", 100])
    assert ({1}, {1}, set()) == tuple(found["all", area] for area in (0, 50, 100))
    del content["annotations"][2]["area"]  # type: ignore[attr-defined]
    path.write_text(json.dumps(content))
    with pytest.raises(
        DataError, match=r"annotations\[2\] has no area, which filter.min_area needs"
    ):
        select(coco_folder, **asked, min_area=50)


def test_excluded_words_leave_images_out(coco_folder: Path):
    """Any of an image's captions counts, whatever chose the image."""
    chosen, told = select(coco_folder, keywords=("thing",), exclude=("sheep", "red car"))
    assert {image for image in range(1, 41) if image % 5 not in (1, 2)} == set(chosen)
    assert {"thing": 24} == told["keywords"]


def test_a_keyword_may_be_several_words(coco_folder: Path):
    """Whatever space stands between them in the caption."""
    rewrite(coco_folder, 4, "a cow\nnext \u00a0to a barn")
    chosen, _ = select(coco_folder, keywords=("next to", "cows rest"))
    assert {3} | {image for image in range(1, 41) if image % 5 == 4} == set(chosen)


def rewrite(folder: Path, place: int, text: str) -> None:
    """Give one caption another text."""
    path = folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["annotations"][place]["caption"] = text
    path.write_text(json.dumps(content))


def test_captions_about_no_image_are_counted_and_dropped_on_demand(coco_folder: Path):
    """They are no words of the image; one that had no other is left out."""
    rewrite(coco_folder, 0, "There is no image here to describe.")
    rewrite(coco_folder, 1, "I am unable to see an image above. A thing")
    rewrite(coco_folder, 2, "No image? A cow")
    kept, told = select(coco_folder, keywords=("thing", "cow"))
    assert (40, 3) == (len(kept), told["junk_captions"])
    dropped, told = select(coco_folder, keywords=("thing", "cow"), drop_junk_captions=True)
    assert set(kept) - set(dropped) == {1}
    assert (39, 3, 77) == (len(dropped), told["junk_captions"], told["captions"])
    rows = read_selection(coco_folder.parent / "selection.parquet")
    assert ["A thing"] == [caption.text for caption in rows[0].image.captions]


def test_what_is_part_of_another_word_is_told(coco_folder: Path):
    """A keyword's letters choose no image, and the record says what they would have chosen."""
    rewrite(coco_folder, 3, "A Chilly hill")
    _, told = select(coco_folder, keywords=("hill", "cow"), match="word")
    assert {"images": 8, "words": {"chill": 8}} == told["parts_of_words"]
    _, told = select(coco_folder, keywords=("hill", "cow"), match="substring")
    assert "parts_of_words" not in told


def test_what_a_theme_excludes_is_no_part_of_another_word(coco_folder: Path):
    """What `match: substring` would choose beside a theme is what it chooses, less the theme."""
    rewrite(coco_folder, 3, "A coward and a dog")
    rewrite(coco_folder, 5, "A cow and a dog")
    rewrite(coco_folder, 6, "A coward")
    for change in ({}, {"exclude": ("dog",)}, {"min_captions": 2}):
        theme, told = select(coco_folder, keywords=("cow", "thing"), **change)
        loose, _ = select(coco_folder, keywords=("cow", "thing"), match="substring", **change)
        parts = told["parts_of_words"]
        assert len(set(loose) - set(theme)) == parts["images"], change
        assert set(parts["words"]) <= {"coward"}, change


def test_one_odd_licence_costs_no_other_its_name(
    coco_folder: Path, caplog: pytest.LogCaptureFixture
):
    """An address may be null; what cannot be told is named."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["licenses"] = [{"id": 4, "name": "Four", "url": None}, {"id": 5}]
    for image in content["images"]:
        image["license"] = 4
    path.write_text(json.dumps(content))
    _, told = select(coco_folder, keywords=("thing",))
    assert {"4": {"name": "Four", "images": 40}} == told["licences"]["of_the_theme"]
    assert "licenses[1].name: Field required" in caplog.text


@pytest.mark.parametrize("part", ["file_name", "flickr_url", "licence"])
def test_half_a_character_is_one_line_or_left_out(coco_folder: Path, part: str):
    """Half of a surrogate pair is text to JSON, and to nothing that is written of it."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    if part == "licence":
        content["licenses"] = [{"id": 4, "name": "x\ud800", "url": ""}]
    else:
        content["images"][0][part] = "x\ud800"
    path.write_text(json.dumps(content))
    if part == "licence":
        assert 40 == len(select(coco_folder, keywords=("thing",))[0])
        return
    with pytest.raises(DataError, match=rf"images\[0\]\.{part}: .*: mend it in dataset\.root"):
        select(coco_folder, keywords=("thing",))


def test_an_image_without_a_licence_is_chosen_where_any_will_do(coco_folder: Path):
    """It is counted, and left out where licences are named."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    assert content["images"][0].pop("license") == 2
    path.write_text(json.dumps(content))
    chosen, told = select(coco_folder, keywords=("thing",))
    assert 1 in chosen
    assert {"name": "", "images": 1} == told["licences"]["of_the_theme"]["none"]  # type: ignore[index]
    chosen, _ = select(coco_folder, keywords=("thing",), licences=(1, 2, 3), val_share=0.4)
    assert {image_id for image_id in range(2, 41) if image_id % 8 < 3} == set(chosen)


def test_licences_of_the_theme_are_told(coco_folder: Path):
    """By name where the annotations name them, with the share that may be used."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["licenses"] = [{"id": 4, "name": "Attribution License", "url": "http://cc/by"}]
    path.write_text(json.dumps(content))
    _, told = select(coco_folder, keywords=("thing",), licences=(1, 2, 3), val_share=0.4)
    licences = told["licences"]
    assert 0.375 == licences["share_used"]  # type: ignore[index]
    by_licence = licences["of_the_theme"]  # type: ignore[index]
    assert {"name": "Attribution License", "images": 5} == by_licence["4"]
    assert 40 == sum(entry["images"] for entry in by_licence.values())


def test_truncated_annotations_are_named(coco_folder: Path):
    """A JSON file that breaks off is told in one line with its path."""
    path = coco_folder / "annotations/captions_train2017.json"
    path.write_text(path.read_text()[:500])
    with pytest.raises(DataError, match=r"captions_train2017.json is not valid JSON") as caught:
        select(coco_folder, keywords=("cow",))
    assert 1 == len(str(caught.value).splitlines())


def test_an_id_in_both_source_splits_is_refused(coco_folder: Path):
    """Ids join the tables below, so a val2017 numbered like train2017 stops here."""
    folder = coco_folder / "annotations"
    (folder / "captions_val2017.json").write_bytes(
        (folder / "captions_train2017.json").read_bytes()
    )
    with pytest.raises(DataError, match="image id 1 stands there 2 times"):
        select(coco_folder, keywords=("cow",))


def test_captions_are_searched_as_written_and_in_plain_form(coco_folder: Path):
    """A look-alike is found, and a sign that the plain form joins to a word hides none."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    for place, text in ((0, "two \uff43\uff4f\uff57\uff53"), (2, "a cow\u2122"), (4, "cow\u00b7")):
        content["annotations"][place]["caption"] = text
    path.write_text(json.dumps(content))
    chosen, _ = select(coco_folder, keywords=("cow",))
    assert {1, 2, 3} <= set(chosen)


@pytest.mark.parametrize("word", ["\u200b", "\ufeff\u00ad", "\u2060"])
def test_a_word_that_no_one_sees_is_refused(word: str):
    """It would be found in every caption."""
    with pytest.raises(ValidationError, match="a character that can be seen"):
        FilterConfig(keywords=("cow", word))


def test_what_the_annotations_hold_in_vain_is_in_the_record(coco_folder: Path):
    """The details count what was left out before any word was looked for."""
    _, figures = select(coco_folder, keywords=("cow",))
    names = ["captions_without_image", "empty_captions", "images_without_caption"]
    assert dict.fromkeys(names, 0) == figures["left_out"]


def test_images_without_a_size_are_selected(coco_folder: Path):
    """Width and height are null in the selection where the annotations have none."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["width"]
        image["height"] = None
    path.write_text(json.dumps(content))
    select(coco_folder, keywords=("thing",))
    rows = read_selection(coco_folder.parent / "selection.parquet")
    assert {(None, None)} == {(row.image.width, row.image.height) for row in rows}
    runtime = Runtime(work=coco_folder.parent / "w", cache=coco_folder.parent / "c", workers=2)
    out = coco_folder.parent / "images"
    selection = coco_folder.parent / "selection.parquet"
    summary = get_images(
        coco_folder, selection, out, config=ImagesConfig(), shard=Framing(), runtime=runtime
    )
    assert {"ok": 40} == summary.figures["status"]


def test_annotations_that_are_not_there_name_their_stage(tmp_path: Path):
    """Whoever runs the stage alone is told which one comes before."""
    with pytest.raises(DataError, match="annotations holds no captions files: run the annotations"):
        select(tmp_path / "data", keywords=("cow",))

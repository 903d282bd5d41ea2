"""The annotations stage: files as tools write them, told by the names the user knows."""

import gzip
import hashlib
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bucolic.base.errors import DataError
from bucolic.base.runtime import Runtime
from bucolic.data.images import read_index
from bucolic.data.names import canonical
from bucolic.data.selection import read_selection
from bucolic.data.squares import Framing
from bucolic.stages.annotations import get_annotations
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images

NAME = "annotations/captions_train2017.json"
BOMS = {"utf-8-sig": b"", "utf-16": b"", "utf-16-le": b"\xff\xfe", "utf-32": b"", "utf-16-be": b""}


def get(root: Path, *categories: str) -> Path:
    """Run the stage; returns its folder."""
    base = root.parent
    out, runtime = base / "data/annotations", Runtime(base / "work", base / "cache", workers=1)
    theme = FilterConfig(keywords=("thing",), categories=categories)
    get_annotations(root, out, filter=theme, runtime=runtime)
    return out


def packed(folder: Path, prefix: str = "annotations/") -> Path:
    """A data set that names an archive of the folder's annotations by its file:// address."""
    path = folder.parent / "a.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        for file in (folder / "annotations").iterdir():
            bundle.write(file, f"{prefix}{file.name}")
    root = folder.parent / "packed"
    root.mkdir()
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    about = {"name": "a.zip", "urls": [path.as_uri()], "size_bytes": len(content), "sha256": digest}
    (root / "source.json").write_text(
        json.dumps({"kind": "coco", "annotations": about, "images": {}})
    )
    return root


@pytest.mark.parametrize("encoding", BOMS)
def test_a_byte_order_mark_is_read_over(coco_folder: Path, encoding: str):
    """Windows tools put one before UTF-8, and PowerShell writes UTF-16: the same images."""
    path = coco_folder / NAME
    expected = selected(get(coco_folder))
    path.write_bytes(BOMS[encoding] + path.read_text().encode(encoding))
    assert expected == selected(get(coco_folder))


def selected(annotations: Path) -> list[Any]:
    """What the filter stage makes of a folder of annotations."""
    out = annotations.parent / "selection.parquet"
    select_images(
        annotations, out, out.with_name("attribution"), config=FilterConfig(keywords=("thing",))
    )
    return read_selection(out)


BROKEN: list[tuple[Callable[[bytes], bytes], str]] = [
    (lambda text: text[:500], "is not valid JSON (Unterminated string"),
    (gzip.compress, "is packed (gzip): unpack it"),
    (lambda _: b"", "is not valid JSON (Expecting value"),
    (lambda text: b"[" + text + b"]", "is no COCO annotation file: it holds no object"),
    (lambda _: b"[" * 100_000, "is not valid JSON (maximum recursion depth exceeded"),
    (lambda text: text.replace(b"A cow", b"A \xe9cow"), "is not valid UTF-8 ("),
    (lambda text: b'{"images": null, ' + text[1:], "the key 'images' stands twice in a record"),
    (lambda _: b'{"annotations": []}', "is not a COCO captions file: it holds no list 'images'"),
    (
        lambda _: b'{"annotations": 5}',
        "is not a COCO captions file: it holds no list 'annotations'",
    ),
    (lambda text: text.replace(b'"image_id": 1,', b'"image_id": "1",'), "image_id: Input should"),
    (lambda text: text.replace(b'"id": 2,', b'"id": 1,'), "image id 1 stands there 2 times"),
    (
        lambda text: text.replace(b'"id": 401,', b'"id": 400,'),
        "caption id 400 stands there 2 times",
    ),
]


@pytest.mark.parametrize(("change", "said"), BROKEN)
@pytest.mark.parametrize("in_archive", [False, True])
def test_the_user_s_own_file_is_named(
    coco_folder: Path, change: Callable[[bytes], bytes], said: str, in_archive: bool
):
    """One line names the file in dataset.root or the archive's member, and never a copy of it."""
    path = coco_folder / NAME
    path.write_bytes(change(path.read_bytes()))
    root = packed(coco_folder) if in_archive else coco_folder
    with pytest.raises(DataError) as caught:
        get(root)
    told = str(caught.value)
    assert said in told
    assert 1 == len(told.splitlines())
    assert ".tmp" not in told
    if in_archive:
        assert "/a.zip: annotations/captions_train2017.json" in told
    else:
        assert str(path) in told
    assert not (coco_folder.parent / "data/annotations").exists()


CATEGORIES = [{"id": 3, "name": "cow"}]
NO_CATEGORY: dict[str, Any] = {"categories": CATEGORIES, "annotations": [{"image_id": 1}]}
OTHER_CATEGORY = {**NO_CATEGORY, "annotations": [{"image_id": 1, "category_id": 4}]}
NO_TRUTH = {"version": 1, "attributes": {}, "images": [{"image_id": 1, "slice": "ordinary"}]}
OTHERS = [
    ("instances", NO_CATEGORY, " is not a COCO instances file: annotations[0].category_id: Field"),
    ("instances", OTHER_CATEGORY, "annotations[0].category_id: 4 is none of its categories"),
    ("instances", {"annotations": []}, "it holds no list 'categories'"),
    ("attributes", NO_TRUTH, " is not a COCO attributes file: images[0].truth: Field required"),
    ("attributes", {"version": 2}, " has version 2, not 1"),
]


@pytest.mark.parametrize(("kind", "content", "said"), OTHERS)
@pytest.mark.parametrize("in_archive", [False, True])
def test_instances_and_attributes_are_told_by_their_own_file(
    coco_folder: Path, kind: str, content: dict[str, Any], said: str, in_archive: bool
):
    """A record that a later stage could not use names the user's file before DVC's copy exists."""
    name = f"annotations/{kind}_train2017.json"
    (coco_folder / name).write_text(json.dumps(content))
    root = packed(coco_folder) if in_archive else coco_folder
    with pytest.raises(DataError) as caught:
        get(root, "cow")
    place = f"/a.zip: {name}" if in_archive else str(coco_folder / name)
    assert place in str(caught.value)
    assert said in str(caught.value)
    assert not (coco_folder.parent / "data/annotations").exists()


def test_the_records_of_each_kind_are_counted(coco_folder: Path):
    """Of attributes, which have no annotations, it is what captions state."""
    states = [{"caption_id": number, "states": {}} for number in (1, 2, 3)]
    scene = {"image_id": 1, "slice": "ordinary", "truth": {}}
    content = {"version": 1, "attributes": {}, "images": [scene], "captions": states}
    (coco_folder / "annotations/attributes_train2017.json").write_text(json.dumps(content))
    theme = FilterConfig(keywords=("thing",))
    base = coco_folder.parent
    runtime = Runtime(base / "work", base / "cache", workers=1)
    summary = get_annotations(coco_folder, base / "out", filter=theme, runtime=runtime)
    expected = {"attributes_train2017.json": 3, "captions_train2017.json": 80}
    assert expected == summary.figures["records"]


@pytest.mark.parametrize("in_archive", [False, True])
def test_instances_are_left_where_they_are_by_a_theme_without_categories(
    coco_folder: Path, in_archive: bool
):
    """Nobody reads them, and they are most of COCO's bytes; broken ones harm no such theme."""
    name = "instances_train2017.json"
    (coco_folder / "annotations" / name).write_text(json.dumps(NO_CATEGORY))
    root = packed(coco_folder) if in_archive else coco_folder
    assert ["captions_train2017.json"] == [path.name for path in get(root).iterdir()]
    whole = {"categories": CATEGORIES, "annotations": [{"image_id": 1, "category_id": 3}]}
    (coco_folder / "annotations" / name).write_text(json.dumps(whole))
    root = coco_folder
    assert name in [path.name for path in get(root, "cow").iterdir()]


@pytest.mark.parametrize("prefix", ["./annotations/", "annotations\\", "annotations//"])
def test_members_are_found_however_their_folder_is_written(coco_folder: Path, prefix: str):
    """Archives packed on Windows have backslashes, and tar's habit is a dot before."""
    out = get(packed(coco_folder, prefix))
    assert (coco_folder / NAME).read_bytes() == (out / "captions_train2017.json").read_bytes()


def test_val2017_alone_is_told_and_the_advice_works(coco_folder: Path):
    """The one line says which file is missing; renaming as it says makes all three splits."""
    (coco_folder / NAME).rename(coco_folder / "annotations/captions_val2017.json")
    (coco_folder / "train2017").rename(coco_folder / "val2017")
    with pytest.raises(DataError) as caught:
        get(coco_folder)
    assert (
        "captions_val2017.json: val2017 is the test split and captions_train2017.json is missing "
        "beside it: put it there, unpacked, or, where there is no folder train2017, rename both "
        "this file and the folder val2017 to train2017"
    ) in str(caught.value)
    (coco_folder / "annotations/captions_val2017.json").rename(coco_folder / NAME)
    (coco_folder / "val2017").rename(coco_folder / "train2017")
    rows = selected(get(coco_folder))
    assert {"train", "val", "test"} == {row.split for row in rows}
    assert ["ok"] * 40 == statuses(coco_folder)


def test_links_inside_the_data_set_are_followed(coco_folder: Path):
    """What they lead to is in the data set, where DVC sees it: files and folders alike."""
    (coco_folder / NAME).rename(coco_folder / "captions.json")
    (coco_folder / NAME).symlink_to("../captions.json")
    (coco_folder / "train2017").rename(coco_folder / "val2017")
    (coco_folder / "train2017").symlink_to("val2017")
    selected(get(coco_folder))
    assert ["ok"] * 40 == statuses(coco_folder)


def statuses(root: Path) -> list[str]:
    """The status of every image after the images stage."""
    base = root.parent
    runtime = Runtime(work=base / "work", cache=base / "cache", workers=2)
    get_images(
        root,
        base / "data/selection.parquet",
        base / "images",
        config=ImagesConfig(max_failed_share=1.0),
        shard=Framing(),
        runtime=runtime,
    )
    return [row.status for row in read_index(base / "images")]


@pytest.mark.parametrize("name", ["train2017", "annotations"])
def test_a_link_out_of_the_data_set_is_refused_and_the_advice_works(coco_folder: Path, name: str):
    """DVC looks into no linked folder; the command that the one line gives makes one it sees."""
    selected(get(coco_folder))
    (coco_folder / name).rename(coco_folder.parent / "elsewhere")
    (coco_folder / name).symlink_to(coco_folder.parent / "elsewhere")
    run = get if name == "annotations" else statuses
    with pytest.raises(DataError, match="is a link out of the data set") as caught:
        run(coco_folder)
    assert 1 == len(str(caught.value).splitlines())
    assert 0 == os.system(str(caught.value).partition("its place: ")[2])  # noqa: S605 - the advice
    selected(get(coco_folder))
    assert ["ok"] * 40 == statuses(coco_folder)


def test_the_data_set_itself_may_be_a_link(coco_folder: Path):
    """DVC follows dataset.root."""
    link = coco_folder.parent / "link"
    link.symlink_to(coco_folder)
    selected(get(link))
    assert ["ok"] * 40 == statuses(link)


def test_links_that_lead_nowhere_are_failed_rows(coco_folder: Path):
    """A broken link and a link to itself are rows with the system's words, and nothing hangs."""
    selected(get(coco_folder))
    for number, target in ((1, "nowhere"), (2, f"{2:012d}.jpg")):
        path = coco_folder / f"train2017/{number:012d}.jpg"
        path.unlink()
        path.symlink_to(target)
    (coco_folder / "train2017/up").symlink_to("..")
    assert ["not_found", "not_found", *["ok"] * 38] == statuses(coco_folder)


SPELT = [
    ("images\\1.jpg", "images/1.jpg"),
    (".\\1.jpg", "1.jpg"),
    ("./1.jpg", "1.jpg"),
    ("train2017/1.jpg", "1.jpg"),
    ("train2017\\images\\1.jpg", "images/1.jpg"),
    ("vache \u00e9.jpg", "vache e\u0301.jpg"),
    ("vache e\u0301.jpg", "vache \u00e9.jpg"),
    ("images\\e\u0301.jpg", "images/\u00e9.jpg"),
    ("two%20cows.jpg", "two cows.jpg"),
    ("50%25.jpg", "50%25.jpg"),
    ("a\\b.jpg", "a\\b.jpg"),
]


@pytest.mark.parametrize(("written", "on_disk"), SPELT)
@pytest.mark.parametrize("in_archive", [False, True])
def test_a_name_is_found_in_another_spelling(
    coco_folder: Path, written: str, on_disk: str, in_archive: bool
):
    """Separators, accents and quotes of the annotations may differ from those of the file."""
    path, picture = coco_folder / NAME, coco_folder / f"train2017/{1:012d}.jpg"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = written
    path.write_text(json.dumps(content))
    (coco_folder / "train2017" / on_disk).parent.mkdir(exist_ok=True)
    picture.rename(coco_folder / "train2017" / on_disk)
    selected(get(coco_folder))
    root = packed_images(coco_folder) if in_archive else coco_folder
    assert ["ok"] * 40 == statuses(root)


@pytest.mark.parametrize(
    ("written", "packed_as"),
    [
        ("images\\1.jpg", "images/1.jpg"),
        ("./a//b.jpg", "a/b.jpg"),
        ("e\u0301.jpg", "\u00e9.jpg"),
        ("a b%20.jpg", "a b%20.jpg"),
    ],
)
def test_archives_hold_one_form_of_a_name(written: str, packed_as: str):
    """Slashes, no empty parts, composed accents: whatever the annotations' tool wrote."""
    assert packed_as == canonical(written)


def packed_images(folder: Path) -> Path:
    """A data set whose images are an archive."""
    root = packed(folder)
    archive = Path(
        shutil.make_archive(str(folder.parent / "train2017"), "zip", folder, "train2017")
    )
    source = json.loads((root / "source.json").read_text())
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    about = {"name": "train2017.zip", "urls": [archive.as_uri()], "sha256": digest}
    source["images"] = {"train2017": {"archive": {**about, "size_bytes": archive.stat().st_size}}}
    (root / "source.json").write_text(json.dumps(source))
    return root


def test_a_name_as_written_comes_before_its_other_spellings(coco_folder: Path):
    """Where files of both spellings are there, the annotation's own is read."""
    path, folder = coco_folder / NAME, coco_folder / "train2017"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "a\\b.jpg"
    path.write_text(json.dumps(content))
    (folder / "a").mkdir()
    (folder / "a/b.jpg").write_text("another")
    (folder / f"{1:012d}.jpg").rename(folder / "a\\b.jpg")
    selected(get(coco_folder))
    assert ["ok"] * 40 == statuses(coco_folder)

"""The images stage: every chosen image is a row, wherever its file comes from."""

import hashlib
import io
import json
import os
import shutil
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bucolic.base.errors import DataError, TransientError
from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.data.coco import CaptionedImage
from bucolic.data.images import ImageRow, decode, read_index
from bucolic.data.original_store import OriginalStore
from bucolic.data.squares import Framing
from bucolic.fetching import originals, ways
from bucolic.fetching.archives import BrokenError, open_zip, read_member
from bucolic.fetching.fetch import IMAGE_LIMIT_BYTES
from bucolic.fetching.http import RETRIES, AwayError, RefusedError, TooLongError
from bucolic.fetching.image_store import KeptImages
from bucolic.fetching.originals import DOUBTED_AFTER, FetchedOriginals
from bucolic.fetching.source import read_source
from bucolic.fetching.ways import COCO_IMAGE_BYTES, find_ways
from bucolic.stages import images as images_stage
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images
from http_server import Bucket, answering, sending, serving_securely
from picture_files import png


@pytest.fixture
def selection(coco_folder: Path, tmp_path: Path) -> Path:
    """All forty images, selected."""
    out = tmp_path / "selection.parquet"
    select_images(
        coco_folder / "annotations",
        out,
        out.with_name("attribution"),
        config=FilterConfig(keywords=("thing",)),
    )
    return out


def get(root: Path, selection: Path, **config: object) -> tuple[Summary, list[ImageRow], Path]:
    """Run the stage; returns summary, index and folder."""
    base = selection.parent
    runtime = Runtime(work=base / "work", cache=base / "cache", workers=2)
    out = base / "images"
    summary = get_images(
        root,
        selection,
        out,
        config=ImagesConfig(**config),
        shard=Framing(size_px=32),
        runtime=runtime,
    )
    return summary, read_index(out), out


def contents(out: Path) -> list[bytes]:
    """The files that the index of a folder names, where they are kept."""
    store = OriginalStore(out.parent / "cache")
    good = [row for row in read_index(out) if row.status == "ok"]
    return [store.read(row.image_id, str(row.sha256)) for row in good]


def kept_file(out: Path, row: ImageRow) -> Path:
    """Where the file of a row is kept."""
    return next((out.parent / "cache/originals").rglob(str(row.sha256)))


def served(bucket: Bucket, folder: Path, **images: object) -> Path:
    """A data set that names the local server: the folder's own images below it."""
    for path in (folder / "train2017").iterdir():
        target = bucket.folder / "train2017" / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(path.read_bytes())
    root = bucket.folder.parent / "named"
    root.mkdir()
    remote = {"name": "a.zip", "urls": [f"{bucket.url}/a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    each = {"urls": [f"{bucket.url}/train2017/{{file_name}}"]}
    content = {"kind": "coco", "annotations": remote, "images": {"train2017": {**each, **images}}}
    (root / "source.json").write_text(json.dumps(content))
    return root


def test_originals_come_through_unchanged(coco_folder: Path, selection: Path):
    """The store holds the very bytes of each file, and the index says which they are."""
    summary, rows, out = get(coco_folder, selection)
    files = sorted((coco_folder / "train2017").iterdir())
    assert [path.read_bytes() for path in files] == contents(out)
    assert [hashlib.sha256(p.read_bytes()).hexdigest() for p in files] == [r.sha256 for r in rows]
    assert (40, 40, 0) == (summary.rows.into, summary.rows.out, summary.rows.failed)


def test_pictures_are_checked_in_the_memory_of_those_before(
    coco_folder: Path, selection: Path, allocator: Any
):
    """Pillow would ask for fresh pages for each one."""
    before = allocator.get_stats()["reused_blocks"]
    get(coco_folder, selection)
    assert allocator.get_stats()["reused_blocks"] > before


def test_the_index_is_the_same_bytes_each_time(coco_folder: Path, selection: Path):
    """Two runs write an equal index, and nothing else for DVC to keep."""
    _, _, out = get(coco_folder, selection)
    first = {path.name: path.read_bytes() for path in out.iterdir()}
    get(coco_folder, selection)
    assert first == {path.name: path.read_bytes() for path in out.iterdir()}
    assert {"index.parquet"} == set(first)


def test_one_decode_checks_a_file_for_all_time(
    coco_folder: Path, selection: Path, monkeypatch: pytest.MonkeyPatch
):
    """Later runs look at the header alone, and still see an annotation of another size."""
    _, first, _ = get(coco_folder, selection)
    decoded = []
    check = images_stage.check_image
    monkeypatch.setattr(
        images_stage, "check_image", lambda *a, **k: decoded.append(a) or check(*a, **k)
    )
    _, again, _ = get(coco_folder, selection)
    assert (first, []) == (again, decoded)
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0] |= {"width": 97}
    path.write_text(json.dumps(content))
    select_images(
        coco_folder / "annotations",
        selection,
        selection.with_name("attribution"),
        config=FilterConfig(keywords=("thing",)),
    )
    _, rows, _ = get(coco_folder, selection)
    assert ["wrong_size", "ok"] == [row.status for row in rows[:2]]


def test_a_failed_image_is_a_row_with_its_reason(
    coco_folder: Path, selection: Path, caplog: pytest.LogCaptureFixture
):
    """Torn, missing and mis-sized files are rows of their own status, add up and are told."""
    folder = coco_folder / "train2017"
    torn = folder / f"{1:012d}.jpg"
    torn.write_bytes(torn.read_bytes()[:400])
    (folder / f"{2:012d}.jpg").unlink()
    Image.new("RGB", (50, 72)).save(folder / f"{3:012d}.jpg")
    summary, rows, out = get(coco_folder, selection, max_failed_share=0.1)
    assert ["corrupt", "not_found", "wrong_size"] == [row.status for row in rows[:3]]
    assert "50x72, annotated 96x72" == rows[2].reason
    assert (40, 37, 3) == (summary.rows.into, summary.rows.out, summary.rows.failed)
    assert 37 == len(contents(out))
    said = "3 of 40 images failed {'corrupt': 1, 'not_found': 1, 'wrong_size': 1}, first 1 ("
    (told,) = [text for text in caplog.messages if "images failed" in text]
    assert told.startswith(said)


def test_what_cannot_be_read_is_a_row_too(coco_folder: Path, selection: Path):
    """A folder in a file's place, a file below a file and one without permission are told so."""
    folder = coco_folder / "train2017"
    paths = [folder / f"{i:012d}.jpg" for i in (1, 2)]
    paths[0].unlink()
    paths[0].mkdir()
    paths[1].unlink()
    paths[1].symlink_to(paths[1])
    summary, rows, _ = get(coco_folder, selection, max_failed_share=0.1)
    assert ["not_found", "not_found", "ok"] == [row.status for row in rows[:3]]
    assert f"train2017/{1:012d}.jpg: Is a directory" == rows[0].reason
    assert rows[1].reason.startswith(f"train2017/{2:012d}.jpg: Too many levels of symbolic links")
    assert (40, 38, 2) == (summary.rows.into, summary.rows.out, summary.rows.failed)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read any file")
def test_a_file_without_permission_is_a_row_too(coco_folder: Path, selection: Path):
    """What the user may not read is one image's failure, not the stage's."""
    (coco_folder / "train2017" / f"{1:012d}.jpg").chmod(0)
    _, rows, _ = get(coco_folder, selection, max_failed_share=0.1)
    assert f"train2017/{1:012d}.jpg: Permission denied" == rows[0].reason


@pytest.mark.parametrize(
    "name",
    [
        "meadow-" + "x" * 92 + ".jpg",
        "w" * 251 + ".jpg",
        "/".join(["d" * 100] * 4) + "/picture.jpg",
        "vache-près-d'une-haie-" + "é" * 60 + ".jpg",
    ],
)
def test_a_file_name_may_be_as_long_as_a_file_system_takes(coco_folder: Path, name: str):
    """A file of any name comes through, and the index still says which it is."""
    annotations = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(annotations.read_text())
    former = coco_folder / "train2017" / content["images"][0]["file_name"]
    longer = coco_folder / "train2017" / name
    longer.parent.mkdir(parents=True, exist_ok=True)
    former.rename(longer)
    content["images"][0]["file_name"] = name
    annotations.write_text(json.dumps(content))
    selection = coco_folder.parent / "selection.parquet"
    select_images(
        annotations.parent,
        selection,
        selection.with_name("attribution"),
        config=FilterConfig(keywords=("thing",)),
    )
    _, rows, out = get(coco_folder, selection)
    assert longer.read_bytes() == contents(out)[0]
    assert [row.sha256 for row in rows] == [hashlib.sha256(c).hexdigest() for c in contents(out)]


def test_more_failures_than_forgiven_stop_the_stage(coco_folder: Path, selection: Path):
    """Over the threshold nothing is written, and the one line counts the failures."""
    for i in range(1, 4):
        (coco_folder / "train2017" / f"{i:012d}.jpg").unlink()
    with pytest.raises(DataError, match=r"3 of 40 images failed \{'not_found': 3\}, first 1 "):
        get(coco_folder, selection, max_failed_share=0.05)
    assert not (selection.parent / "images").exists()


def test_only_images_never_seen_are_fetched(coco_folder: Path, selection: Path, bucket: Bucket):
    """The second run takes every file from the cache and asks the server for none."""
    root = served(bucket, coco_folder)
    first, rows, _ = get(root, selection)
    second, again, _ = get(root, selection)
    assert (40, 0) == (first.new, first.reused)
    assert (0, 40) == (second.new, second.reused)
    assert rows == again
    assert 40 == sum(bucket.asked.values())


def test_a_passing_failure_keeps_what_was_fetched(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """All others are fetched, it is tried on two passes, and the next run asks for it alone."""
    root, path = served(bucket, coco_folder), f"/train2017/{7:012d}.jpg"
    bucket.busy[path] = 100
    said = r"1 of 40 images could not be fetched now \(first: http.*7.jpg: .* 503\): run the same"
    with pytest.raises(TransientError, match=said) as caught:
        get(root, selection, connections=1)
    assert 75 == caught.value.exit_code
    assert (40, 2 * (RETRIES + 1)) == (len(bucket.asked), bucket.asked[path])
    assert not (selection.parent / "images").exists()
    bucket.busy.clear()
    bucket.asked.clear()
    summary, _, _ = get(root, selection)
    assert {path: 1} == dict(bucket.asked)
    assert (1, 39) == (summary.new, summary.reused)


def test_what_comes_on_the_second_pass_leaves_no_trace(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """Images that came late stand in the tars where they belong: the bytes of a quiet run."""
    root = served(bucket, coco_folder)
    _, _, out = get(root, selection)
    quiet = {path.name: path.read_bytes() for path in out.iterdir()}
    shutil.rmtree(selection.parent / "cache")
    (bucket.folder / "train2017" / f"{3:012d}.jpg").unlink()
    _, _, out = get(root, selection)
    with_hole = {path.name: path.read_bytes() for path in out.iterdir()}
    for number in (1, 9, 40):
        bucket.busy[f"/train2017/{number:012d}.jpg"] = RETRIES + 2
    shutil.rmtree(selection.parent / "cache")
    bucket.asked.clear()
    _, rows, out = get(root, selection)
    assert with_hole == {path.name: path.read_bytes() for path in out.iterdir()}
    assert "not_found" == rows[2].status
    assert 1 == bucket.asked[f"/train2017/{3:012d}.jpg"]  # a final answer is asked for once
    assert set(quiet) == set(with_hole)


@pytest.mark.parametrize(
    ("status", "told"), [(404, "not_found"), (410, "not_found"), (401, "refused"), (451, "refused")]
)
def test_a_final_answer_is_a_row_with_its_reason(
    coco_folder: Path, selection: Path, bucket: Bucket, status: int, told: str
):
    """Whatever the server says for good is told in the index."""
    root, path = served(bucket, coco_folder), f"/train2017/{7:012d}.jpg"
    bucket.habits[path] = answering(status)
    _, rows, _ = get(root, selection)
    assert (told, f"{bucket.url}{path}: the server answers {status}") == (
        rows[6].status,
        rows[6].reason,
    )


def test_a_page_in_the_place_of_a_picture_is_corrupt(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """A server that says 200 and sends its error page gives a failed row and keeps nothing."""
    root, path = served(bucket, coco_folder), f"/train2017/{7:012d}.jpg"
    page = b"<html>Not now</html>"
    bucket.habits[path] = sending([page], length=len(page))
    _, rows, _ = get(root, selection)
    assert "corrupt" == rows[6].status
    del bucket.habits[path]
    assert "ok" == get(root, selection)[1][6].status


def test_a_server_that_is_away_ends_soon(
    coco_folder: Path, selection: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """On each pass, after twenty failures in a row images are asked for once, later never."""
    root = served(bucket, coco_folder)
    for number in range(1, 41):
        bucket.habits[f"/train2017/{number:012d}.jpg"] = answering(503)
    with pytest.raises(TransientError, match="40 of 40 images could not be fetched now"):
        get(root, selection, connections=1)
    assert 2 * (DOUBTED_AFTER * (RETRIES + 1) + 20) == sum(bucket.asked.values())
    bucket.asked.clear()
    monkeypatch.setattr(originals, "GIVEN_UP_AFTER_S", 0.0)
    with pytest.raises(TransientError, match="40 of 40 images could not be fetched now"):
        get(root, selection, connections=1)
    assert 2 * DOUBTED_AFTER * (RETRIES + 1) == sum(bucket.asked.values())


def test_a_server_that_was_given_up_gets_its_second_try(
    coco_folder: Path, selection: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """Silent so long that nobody asked it any more, then back: the stage ends well."""
    monkeypatch.setattr(originals, "GIVEN_UP_AFTER_S", 0.0)
    root = served(bucket, coco_folder)
    for number in range(1, DOUBTED_AFTER + 1):
        bucket.busy[f"/train2017/{number:012d}.jpg"] = RETRIES + 1
    summary, _, _ = get(root, selection, connections=1)
    assert (40, 40) == (summary.new, summary.rows.out)
    assert 1 == bucket.asked[f"/train2017/{40:012d}.jpg"]


def test_a_disk_in_trouble_ends_the_stage_and_freezes_no_hole(coco_folder: Path, selection: Path):
    """The kernel's input/output error is a passing failure, never a row; so is want of memory."""
    path = coco_folder / "train2017" / f"{7:012d}.jpg"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # whose first page nobody can read
    with pytest.raises(TransientError, match=r"read or written at train2017/0+7.jpg: look"):
        get(coco_folder, selection)
    assert not (selection.parent / "images").exists()


def test_a_pipe_in_the_place_of_a_picture_holds_nobody(coco_folder: Path, selection: Path):
    """What is no file is a row; reading it would never end."""
    path = coco_folder / "train2017" / f"{7:012d}.jpg"
    path.unlink()
    os.mkfifo(path)
    assert f"train2017/{path.name}: not a file" == get(coco_folder, selection)[1][6].reason


def test_a_file_over_the_limit_of_bytes_is_too_large(
    coco_folder: Path, selection: Path, monkeypatch: pytest.MonkeyPatch
):
    """The limit of one image is named, out of a folder as over the network."""
    path = coco_folder / "train2017" / f"{7:012d}.jpg"
    with path.open("ab") as file:
        file.truncate(IMAGE_LIMIT_BYTES + 1)
    _, rows, _ = get(coco_folder, selection)
    said = f"train2017/{path.name}: over the limit of 268,435,456 bytes"
    assert ("too_large", said) == (rows[6].status, rows[6].reason)


@pytest.mark.parametrize("second", [True, False])
def test_no_image_comes_over_http_where_https_was_promised(
    coco_folder: Path,
    selection: Path,
    bucket: Bucket,
    monkeypatch: pytest.MonkeyPatch,
    *,
    second: bool,
):
    """Neither a later address nor a redirect takes the seal off, unless source.json says so."""
    folder, plain = coco_folder.parent, f"{bucket.url}/train2017"
    moved = answering(302, Location=f"{plain}/{1:012d}.jpg")
    with serving_securely(folder, answering(404) if second else moved) as (url, certificate):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        urls = [f"{url}/{{file_name}}", *([f"{plain}/{{file_name}}"] if second else [])]
        root = served(bucket, coco_folder, urls=urls)
        with pytest.raises(DataError, match="40 of 40 images failed"):
            get(root, selection)
        assert 0 == sum(bucket.asked.values())
        source = json.loads((root / "source.json").read_text())
        source["images"]["train2017"]["allow_http"] = True
        (root / "source.json").write_text(json.dumps(source))
        assert "ok" == get(root, selection)[1][0].status


def test_one_split_that_allows_http_says_nothing_of_another(
    coco_folder: Path, tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """The seal of train2017 stays on while val2017, in the same run, gives up its own."""
    moved = answering(302, Location=f"{bucket.url}/train2017/{1:012d}.jpg")
    with serving_securely(tmp_path, moved) as (url, certificate):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        urls = [f"{url}/{{file_name}}"]
        root = served(bucket, coco_folder, urls=urls)
        source = json.loads((root / "source.json").read_text())
        source["images"]["val2017"] = {"urls": urls, "allow_http": True}
        (root / "source.json").write_text(json.dumps(source))
        train, val = (
            CaptionedImage(i, split, f"{i}.jpg", 96, 72, None, "", "", ())
            for i, split in enumerate(("train2017", "val2017"))
        )
        ways = find_ways(read_source(root), [train, val], tmp_path / "cache", "auto")
        several = ways.open(connections=1)
        with pytest.raises(RefusedError, match="it leads from https to http://127"):
            several.read(train)
        assert (coco_folder / f"train2017/{1:012d}.jpg").read_bytes() == several.read(val)


NAMES = (
    "cow #1.jpg",
    "cow 50%25 1.jpg",
    "cow? 1.jpg",
    "cow 1.jpg",
    "vache é.jpg",
    "cow+sheep.jpg",
    "cow;sheep&x=1.jpg",
    "[cow].jpg",
    "a cow's.jpg",
    "farm/old barn/cow:1.jpg",
    "COW.JPG",
    "cow.jpg",
    "w" * 251 + ".jpg",
)


def test_names_are_quoted_in_addresses(coco_folder: Path, bucket: Bucket):
    """Signs that mean something in an address come through, kept apart in the cache."""
    annotations = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(annotations.read_text())
    shutil.copytree(coco_folder / "train2017", bucket.folder / "t")
    for record, name in zip(content["images"], NAMES, strict=False):
        target = bucket.folder / "t" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (bucket.folder / "t" / record["file_name"]).rename(target)
        record["file_name"] = name
    annotations.write_text(json.dumps(content))
    selection = coco_folder.parent / "selection.parquet"
    select_images(
        annotations.parent,
        selection,
        selection.with_name("attribution"),
        config=FilterConfig(keywords=("thing",)),
    )
    root = served(bucket, coco_folder, urls=[f"{bucket.url}/t/{{file_name}}?version=1"])
    _, rows, out = get(root, selection)
    assert [""] * 40 == [row.reason for row in rows]
    files = [(bucket.folder / "t" / name).read_bytes() for name in NAMES]
    assert files == contents(out)[: len(NAMES)]
    assert 40 == get(root, selection)[0].reused


@pytest.mark.parametrize("name", ["farm\\cow 1.jpg", "./farm//cow 1.jpg", "farm/cow 1.jpg"])
def test_an_address_has_the_folders_that_a_name_means(coco_folder: Path, bucket: Bucket, name: str):
    """Backslashes and dots mean in an address what they mean in a folder or an archive."""
    selection = renamed(coco_folder, {0: name})
    root = served(bucket, coco_folder)
    (bucket.folder / "train2017/farm").mkdir()
    (bucket.folder / f"train2017/{1:012d}.jpg").rename(bucket.folder / "train2017/farm/cow 1.jpg")
    _, rows, _ = get(root, selection)
    assert ("ok", "") == (rows[0].status, rows[0].reason)
    assert 1 == bucket.asked["/train2017/farm/cow%201.jpg"]
    assert 40 == sum(bucket.asked.values())


def test_a_server_may_hold_a_name_as_it_is_written(coco_folder: Path, bucket: Bucket):
    """An accent that is not composed is asked for composed, then as the record has it."""
    name = "vache e\u0301.jpg"
    selection = renamed(coco_folder, {0: name})
    root = served(bucket, coco_folder)
    (bucket.folder / f"train2017/{1:012d}.jpg").rename(bucket.folder / "train2017" / name)
    assert "ok" == get(root, selection)[1][0].status


def test_another_mirror_refetches_nothing(coco_folder: Path, selection: Path, bucket: Bucket):
    """Kept files are known by their data set and name, not by where they came from."""
    root = served(bucket, coco_folder)
    get(root, selection)
    source = json.loads((root / "source.json").read_text())
    source["images"]["train2017"]["urls"] = ["http://127.0.0.1:9/{file_name}"]
    (root / "source.json").write_text(json.dumps(source))
    assert (0, 40) == (get(root, selection)[0].new, get(root, selection)[0].reused)
    assert 40 == sum(bucket.asked.values())


def test_another_data_set_with_equal_names_is_fetched(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """Where the annotations are others, the same file name is another picture."""
    root = served(bucket, coco_folder)
    get(root, selection)
    source = json.loads((root / "source.json").read_text())
    source["annotations"]["sha256"] = "1" * 64
    (root / "source.json").write_text(json.dumps(source))
    assert 40 == get(root, selection)[0].new


def packed(bucket: Bucket, coco_folder: Path, **changes: object) -> dict[str, object]:
    """COCO's zip of the images on the server, and what source.json says of it."""
    path = bucket.folder / "train2017.zip"
    with zipfile.ZipFile(path, "w") as bundle:
        for file in sorted((coco_folder / "train2017").iterdir()):
            bundle.write(file, f"train2017/{file.name}")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = {"name": path.name, "urls": [f"{bucket.url}/{path.name}"], "sha256": digest}
    return {**known, "size_bytes": path.stat().st_size, **changes}


def test_one_more_image_is_fetched_alone(
    coco_folder: Path, selection: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
):
    """What the cache holds counts: the archive is not fetched for a handful of files."""
    caplog.set_level("INFO")
    size = 40 * COCO_IMAGE_BYTES  # the archive of a COCO of forty images
    root = served(bucket, coco_folder, archive=packed(bucket, coco_folder, size_bytes=size))
    get(root, selection, fetch="files")
    for number in (3, 4):
        next((root.parent / "cache").rglob(f"{number:012d}.jpg")).unlink()
    bucket.asked.clear()
    summary, _, _ = get(root, selection)
    assert (2, 38) == (summary.new, summary.reused)
    assert {f"/train2017/{n:012d}.jpg": 1 for n in (3, 4)} == dict(bucket.asked)
    assert "train2017: 2 of 40 images to come: one by one, about 0.00 GB" in caplog.messages
    get(root, selection)
    assert "train2017: 0 of 40 images to come" == caplog.messages[-1]


@pytest.mark.parametrize("fetch", ["auto", "archive"])
def test_kept_images_need_no_archive_and_no_address(
    coco_folder: Path, selection: Path, bucket: Bucket, fetch: str
):
    """With nothing missing in the cache nobody is asked, whatever source.json names."""
    archive = packed(bucket, coco_folder)
    root = served(bucket, coco_folder, archive=archive)
    _, expected, _ = get(root, selection, fetch="files")
    source = json.loads((root / "source.json").read_text())
    source["images"]["train2017"]["urls"] = []
    (root / "source.json").write_text(json.dumps(source))
    bucket.asked.clear()
    summary, rows, _ = get(root, selection, fetch=fetch)
    assert (expected, 40, {}) == (rows, summary.reused, dict(bucket.asked))


def test_a_kept_copy_that_broke_comes_from_the_archive_on_the_next_run(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """Without an address it cannot come alone: that passes, and running again mends it."""
    root = served(bucket, coco_folder, archive=packed(bucket, coco_folder))
    _, expected, out = get(root, selection, fetch="files")
    source = json.loads((root / "source.json").read_text())
    source["images"]["train2017"]["urls"] = []
    (root / "source.json").write_text(json.dumps(source))
    kept = kept_file(out, expected[6])
    kept.write_bytes(kept.read_bytes()[:300])
    said = rf"1 of 40 .*\(first: train2017/{7:012d}.jpg: its kept copy was broken, .*run the same"
    with pytest.raises(TransientError, match=said):
        get(root, selection)
    assert expected == get(root, selection)[1]
    assert 1 == bucket.asked["/train2017.zip"]


@pytest.fixture
def few_of_many(
    coco_folder: Path, selection: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A data set of an archive alone, and a theme that is a small part of it."""
    archive = packed(bucket, coco_folder)
    monkeypatch.setattr(ways, "COCO_IMAGE_BYTES", archive["size_bytes"] // 400)
    return served(bucket, coco_folder, urls=[], archive=archive)


def test_few_images_without_addresses_come_out_of_the_archive_on_its_server(
    coco_folder: Path,
    selection: Path,
    bucket: Bucket,
    few_of_many: Path,
    caplog: pytest.LogCaptureFixture,
):
    """Their bytes alone, each with one question and once; rows are those of a folder."""
    caplog.set_level("INFO")
    _, expected, _ = get(coco_folder, selection)
    shutil.rmtree(selection.parent / "cache")
    summary, rows, _ = get(few_of_many, selection)
    assert expected == rows
    assert (40, 0) == (summary.new, summary.reused)
    assert {"/train2017.zip"} == set(bucket.asked)
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in bucket.ranges]
    with zipfile.ZipFile(bucket.folder / "train2017.zip") as bundle:
        assert [1] * 40 == [starts.count(each.header_offset) for each in bundle.infolist()]
    said = "train2017: 40 of 40 images to come: out of train2017.zip on its server, about 0.00 GB"
    assert said in caplog.messages
    assert not list((few_of_many.parent / "cache").rglob("*.zip"))
    bucket.asked.clear()
    summary, rows, _ = get(few_of_many, selection)
    assert (expected, 40, {}) == (rows, summary.reused, dict(bucket.asked))


def test_a_server_without_ranges_gives_the_whole_archive(
    selection: Path, bucket: Bucket, few_of_many: Path
):
    """Which its digest speaks for."""
    bucket.ignores_ranges = True
    _, rows, _ = get(few_of_many, selection)
    assert {"ok"} == {row.status for row in rows}
    assert list((few_of_many.parent / "cache").rglob("*.zip"))


def test_an_image_that_the_archive_lacks_is_a_row(
    coco_folder: Path, selection: Path, bucket: Bucket, few_of_many: Path
):
    """And so is one whose bytes are not those that the list tells of."""
    (coco_folder / f"train2017/{3:012d}.jpg").unlink()
    archive = packed(bucket, coco_folder)
    path = bucket.folder / "train2017.zip"
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as bundle:
        content[bundle.getinfo(f"train2017/{7:012d}.jpg").header_offset + 200] ^= 255
    path.write_bytes(content)
    source = json.loads((few_of_many / "source.json").read_text())
    source["images"]["train2017"]["archive"] = archive
    (few_of_many / "source.json").write_text(json.dumps(source))
    _, rows, _ = get(few_of_many, selection, max_failed_share=0.1)
    failed = {row.image_id: row.status for row in rows if row.status != "ok"}
    assert {3: "not_found", 7: "corrupt"} == failed


def test_a_small_theme_reads_from_an_archive_that_is_there(
    coco_folder: Path, selection: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
):
    """An archive fetched before serves whatever the cache lacks; nobody is asked."""
    caplog.set_level("INFO")
    root = served(bucket, coco_folder, archive=packed(bucket, coco_folder))
    whole = selection.rename(selection.parent / "whole.parquet")
    select_images(
        coco_folder / "annotations",
        selection,
        selection.with_name("attribution"),
        config=FilterConfig(keywords=("cow",)),
    )
    get(root, selection, fetch="archive")
    bucket.asked.clear()
    whole.replace(selection)
    _, rows, _ = get(root, selection)
    assert ({"ok"}, {}) == ({row.status for row in rows}, dict(bucket.asked))
    assert "out of train2017.zip, which is on this disk" in caplog.messages[-1]


def test_a_damaged_archive_in_the_cache_is_not_fetched_for_a_handful(
    coco_folder: Path, selection: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """Only a whole archive is there; the missing images come one by one, as without it."""
    archive = packed(bucket, coco_folder)
    root = served(bucket, coco_folder, archive=archive)
    get(root, selection, fetch="files")
    next((root.parent / "cache").rglob(f"{3:012d}.jpg")).unlink()
    path = root.parent / f"cache/archives/{archive['sha256'][:16]}/train2017.zip"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        file.truncate(archive["size_bytes"])
    bucket.asked.clear()
    monkeypatch.setattr(ways, "COCO_IMAGE_BYTES", archive["size_bytes"] // 40)
    get(root, selection)
    assert {f"/train2017/{3:012d}.jpg": 1} == dict(bucket.asked)


def test_a_broken_member_is_one_failed_row(coco_folder: Path, selection: Path, bucket: Bucket):
    """The archive is what its digest says, so the file is broken at its source."""
    packed(bucket, coco_folder)
    path = bucket.folder / "train2017.zip"
    with zipfile.ZipFile(path) as bundle:
        member = bundle.getinfo(f"train2017/{7:012d}.jpg")
    content = bytearray(path.read_bytes())
    content[member.header_offset + 200] ^= 255
    path.write_bytes(content)
    archive = {
        "name": path.name,
        "urls": [path.as_uri()],
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    _, rows, _ = get(served(bucket, coco_folder, archive=archive), selection, fetch="archive")
    said = f"train2017/{7:012d}.jpg cannot be unpacked: Bad CRC-32"
    assert "corrupt" == rows[6].status
    assert rows[6].reason.startswith(said)
    assert ["corrupt"] == [row.status for row in rows if row.status != "ok"]


def test_a_member_that_unpacks_beyond_the_limit_is_refused(tmp_path: Path):
    """A zip bomb is told by its size, which is never unpacked."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("train2017/1.jpg", bytes(2_000_000))
    with open_zip(tmp_path / "a.zip") as bundle:
        member = bundle.getinfo("train2017/1.jpg")
        with pytest.raises(
            TooLongError, match="over the limit of 1,000,000 bytes unpacked"
        ) as told:
            read_member(bundle, member, 1_000_000)
        assert "too_large" == told.value.status
        member.file_size = 1000  # an archive that lies unpacks no more than it says
        with pytest.raises(BrokenError, match="Bad CRC-32"):
            read_member(bundle, member, 1_000_000)


def test_the_users_word_for_an_archive_stands(coco_folder: Path, selection: Path, bucket: Bucket):
    """fetch: archive without one is refused, instead of fetching thousands of files."""
    root = served(bucket, coco_folder)
    with pytest.raises(DataError, match="images of train2017 have no archive: set"):
        get(root, selection, fetch="archive")
    root = root / "source.json"
    source = json.loads(root.read_text())
    source["images"]["train2017"]["archive"] = packed(bucket, coco_folder)
    root.write_text(json.dumps(source))
    get(root.parent, selection, fetch="files")
    assert "/train2017.zip" not in bucket.asked


def test_a_copy_that_broke_in_the_cache_is_fetched_anew(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """What lies in the cache decides nothing: a damaged copy there gives way to the source's."""
    root = served(bucket, coco_folder)
    _, expected, out = get(root, selection)
    kept = kept_file(out, expected[6])
    kept.write_bytes(kept.read_bytes()[:300])
    summary, rows, _ = get(root, selection)
    assert (expected, 1) == (rows, summary.new)


def test_a_broken_copy_is_not_kept(coco_folder: Path, selection: Path, bucket: Bucket):
    """A file that arrived broken is fetched again by the next run."""
    root = served(bucket, coco_folder)
    path = bucket.folder / "train2017" / f"{7:012d}.jpg"
    whole = path.read_bytes()
    path.write_bytes(whole[:300])
    assert "corrupt" == get(root, selection)[1][6].status
    path.write_bytes(whole)
    summary, rows, _ = get(root, selection)
    assert ("ok", 1) == (rows[6].status, summary.new)


def test_what_is_no_picture_is_asked_for_once_a_run_and_kept_nowhere(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """A server's page of an error may be another one each time."""
    root = served(bucket, coco_folder)
    path = bucket.folder / "train2017" / f"{7:012d}.jpg"
    for number in range(3):
        path.write_bytes(b"<html>error %d</html>" % number)
        _, rows, out = get(root, selection)
        assert "corrupt" == rows[6].status
        assert 1 + number == bucket.asked[f"/train2017/{path.name}"]
    kept = [file for file in (out.parent / "cache/originals").rglob("*") if file.is_file()]
    assert 39 == len(kept)


def test_an_archive_gives_the_same_files(coco_folder: Path, selection: Path, bucket: Bucket):
    """Images out of COCO's zip are the same bytes as images out of a folder."""
    _, expected, _ = get(coco_folder, selection)
    root = served(bucket, coco_folder, archive=packed(bucket, coco_folder))
    _, rows, _ = get(root, selection, fetch="archive")
    assert expected == rows
    assert {"/train2017.zip": 1} == dict(bucket.asked)


@pytest.mark.parametrize("fetch", ["auto", "files", "archive"])
def test_what_came_in_an_archive_is_not_fetched_again_where_that_is_gone(
    coco_folder: Path, selection: Path, bucket: Bucket, fetch: str
):
    """Its images are known by their names, as those that came one by one are."""
    root = served(bucket, coco_folder, archive=packed(bucket, coco_folder))
    _, expected, out = get(root, selection, fetch="archive")
    shutil.rmtree(out.parent / "cache/archives")
    bucket.asked.clear()
    summary, rows, _ = get(root, selection, fetch=fetch)
    assert (expected, {}) == (rows, dict(bucket.asked))
    assert (0, 40) == (summary.new, summary.reused)


class Refusing:
    """A server that is away."""

    asked = 0

    def named(self, image: CaptionedImage) -> str:
        """Its file."""
        return image.file_name

    def fetch(self, image: CaptionedImage, tries: int) -> bytes:  # noqa: ARG002
        """Count, and fail."""
        self.asked += 1
        raise AwayError("away")


def test_a_server_is_not_blamed_for_the_time_before_it_was_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Kept images may have taken minutes: given up is who has failed for long."""
    now_s = [0.0]
    monkeypatch.setattr(originals, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
    server = Refusing()
    fetched = FetchedOriginals(server, KeptImages(tmp_path, "0" * 64))
    now_s[0] = 1000.0
    image = CaptionedImage(1, "train2017", "1.jpg", None, None, None, "", "", ())
    for _ in range(DOUBTED_AFTER + 5):
        with pytest.raises(AwayError, match="away"):
            fetched.read(image)
    assert server.asked == DOUBTED_AFTER + 5
    now_s[0] += originals.GIVEN_UP_AFTER_S + 1
    with pytest.raises(AwayError, match="not asked"):
        fetched.read(image)
    assert server.asked == DOUBTED_AFTER + 5


def test_images_without_addresses_cannot_be_fetched_singly(
    coco_folder: Path, selection: Path, bucket: Bucket
):
    """Where the source names archives alone, fetch: files is told to be auto."""
    root = served(bucket, coco_folder, urls=[])
    with pytest.raises(DataError, match="images of train2017 have no address each"):
        get(root, selection, fetch="files")


def test_what_is_too_large_or_unsupported_is_counted_as_such(coco_folder: Path):
    """A sound file that is not used is not called corrupt, and the limit is in its reason."""
    annotations = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(annotations.read_text())
    content["images"][0] |= {"width": 13000, "height": 13000}
    annotations.write_text(json.dumps(content))
    paths = [coco_folder / "train2017" / f"{i:012d}.jpg" for i in (1, 2, 3)]
    for path in (paths[0], paths[2]):
        path.write_bytes(png((13000, 13000), 8, 2, []))
    paths[1].write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n")
    selection = coco_folder.parent / "selection.parquet"
    select_images(
        annotations.parent,
        selection,
        selection.with_name("attribution"),
        config=FilterConfig(keywords=("thing",)),
    )
    summary, rows, _ = get(coco_folder, selection, max_failed_share=0.1)
    assert ["too_large", "unsupported", "wrong_size"] == [row.status for row in rows[:3]]
    expected = {"ok": 37, "too_large": 1, "unsupported": 1, "wrong_size": 1}
    assert expected == summary.figures["status"]
    said = "too_large: 13000x13000 are 169000000 pixels, the limit is 100000000"
    assert said == summary.details["failures"]["1"]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGBA"])
def test_every_colour_mode_decodes_to_rgb(mode: str):
    """Greyscale, CMYK and transparent files become RGB pictures of the same size."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).convert(mode)
    picture.save(buffer, "PNG" if mode == "RGBA" else "JPEG")
    decoded = decode(buffer.getvalue())
    assert ("RGB", (8, 8)) == (decoded.mode, decoded.size)
    assert np.abs(np.asarray(decoded, int) - 200).max() <= 6


def renamed(folder: Path, names: dict[int, str], **changes: object) -> Path:
    """The selection of all images after some records were given another file_name."""
    path = folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    for place, name in names.items():
        content["images"][place].update(file_name=name, **changes)
    path.write_text(json.dumps(content))
    out = folder.parent / "selection.parquet"
    select_images(
        path.parent, out, out.with_name("attribution"), config=FilterConfig(keywords=("thing",))
    )
    return out


def test_records_of_one_file_share_it(coco_folder: Path, bucket: Bucket):
    """Thirty records that name one file fetch it once, while others wait; each gets its row."""
    name = f"{1:012d}.jpg"
    selection = renamed(coco_folder, dict.fromkeys(range(30), name))
    root = served(bucket, coco_folder)
    bucket.slow_s = 0.05
    _, rows, _ = get(root, selection, connections=16)
    assert ["ok"] * 40 == [row.status for row in rows]
    assert 1 == len({row.sha256 for row in rows[:30]})
    assert 1 == bucket.asked[f"/train2017/{name}"]


def test_records_of_one_file_may_differ_in_size(coco_folder: Path, bucket: Bucket):
    """A record whose size is wrong is a failed row and takes nothing from those that are right."""
    name = f"{1:012d}.jpg"
    selection = renamed(coco_folder, dict.fromkeys(range(1, 40, 2), name), width=95)
    root = served(bucket, coco_folder)
    for _ in range(2):
        _, rows, _ = get(root, selection, connections=16, max_failed_share=1.0)
        assert ["ok", "wrong_size"] * 20 == [row.status for row in rows]


@pytest.mark.parametrize("name", ["w" * 250 + ".jpg", "1/2.jpg", "w" * 300, "d/" * 2500 + "x"])
def test_a_name_that_no_cache_takes_is_a_row_or_read(coco_folder: Path, bucket: Bucket, name: str):
    """A long name, one below a file, one no server has: each is a row, and the rest is fetched."""
    selection = renamed(coco_folder, {0: "1", 1: name})
    root = served(bucket, coco_folder)
    picture = (bucket.folder / f"train2017/{5:012d}.jpg").read_bytes()
    has = len(name) < 255
    if has:
        (bucket.folder / "train2017" / name).parent.mkdir(exist_ok=True)
        (bucket.folder / "train2017" / name).write_bytes(picture)
    _, rows, _ = get(root, selection, max_failed_share=0.1)
    assert ["not_found", "ok" if has else "not_found"] == [row.status for row in rows[:2]]
    assert ["ok"] * 38 == [row.status for row in rows[2:]]


@pytest.mark.parametrize("name", ["w" * 300, "d/" * 2500 + "x", f"{2:012d}.jpg/x", "sub"])
def test_a_name_that_no_folder_holds_is_a_row(coco_folder: Path, bucket: Bucket, name: str):
    """Too long, below a file, or a folder's: a failed row where the address is a local folder's."""
    selection = renamed(coco_folder, {0: name})
    local = f"{(coco_folder / 'train2017').as_uri()}/{{file_name}}"
    root = served(bucket, coco_folder, urls=[local])
    (coco_folder / "train2017/sub").mkdir()
    _, rows, _ = get(root, selection)
    assert ["not_found", *["ok"] * 39] == [row.status for row in rows]


def test_an_edited_selection_touches_no_file_outside(coco_folder: Path, bucket: Bucket):
    """A climbing name in the Parquet file reads, removes and overwrites nothing."""
    victim = coco_folder.parent / "victim.txt"
    victim.write_text("the user's own")
    selection = renamed(coco_folder, {})
    table = pq.read_table(selection)
    names = [f"../../../../{victim.name}", *table["file_name"].to_pylist()[1:]]
    edited = table.set_column(table.column_names.index("file_name"), "file_name", [names])
    pq.write_table(edited, selection)
    for root in (coco_folder, served(bucket, coco_folder)):
        with pytest.raises(DataError, match="file's path below its folder"):
            get(root, selection, max_failed_share=1.0)
    assert "the user's own" == victim.read_text()
    assert not (selection.parent / "images").exists()

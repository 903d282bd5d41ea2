"""Names out of annotations and source.json: below their folder, or refused."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from bucolic.base.errors import DataError
from bucolic.data.images import ImageRow, read_index, write_index
from bucolic.data.names import flat, require_below
from bucolic.data.selection import read_selection
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.source import read_source
from bucolic.stages.filter import FilterConfig, select_images

LEAVING = [
    *("", ".", "..", "./", "a/", "a/.", "a\\", "/a", "//server/a", "\\\\server\\a"),
    *("../a", "a/../b", "a/..", "..\\a", "a\\..\\b", "a/..\\..\\b", " ../a", "a/.. /b"),
    *("C:\\a", "c:/a", "c:a", "a\0b", "a\n", "\ra", "a\x7f", "a\x85b", "a\u2028b"),
    *("%2e%2e/a", "..%2fa", "a/%2E%2E%5Cb", "%2Fa", "c%3Aa", "a%00b", "a%0A"),
]
STAYING = [
    *("000000000139.jpg", "images/0001.jpg", "images\\0001.jpg", "./a.jpg", "a//b.jpg", "-rf"),
    *("a b.jpg", "50%.jpg", "50%25.jpg", "#1?.jpg", "~root", "...", "..a", "a..", "a/...b"),
    *("12:00.jpg", "牛.jpg", "e\u0301.jpg", "a" * 300),
]
LEAVES = "Input should be a file's path below its folder: relative, without .., drive or control"


@pytest.mark.parametrize("name", LEAVING)
def test_a_name_that_leaves_its_folder_is_refused(name: str):
    """Absolute, climbing, of another drive, unprintable or no file's name at all, encoded too."""
    with pytest.raises(ValueError, match=LEAVES):
        require_below(name)


@pytest.mark.parametrize("name", STAYING)
def test_any_other_name_may_be_a_file_s(name: str):
    """Folders, spaces, dots, colons and any script are names like others."""
    assert name == require_below(name)


def test_a_kept_copy_has_a_name_that_any_file_system_takes():
    """COCO's names stay; long, nested and odd ones become digests, each its own."""
    names = [*STAYING, "A.jpg", "a.jpg", "A.JPG"]
    flats = {name: flat(name) for name in names}
    assert "000000000139.jpg" == flats["000000000139.jpg"]
    assert len(names) == len({name.casefold() for name in flats.values()})
    assert all("/" not in name and len(name) <= 100 for name in flats.values())


@pytest.mark.parametrize("name", ["/etc/passwd", "../../x.jpg", "C:\\x.jpg", "a\n.jpg", ""])
def test_a_record_s_file_name_is_refused_with_its_place(coco_folder: Path, name: str):
    """One line names the annotation file, the record and the key, and nothing is written."""
    path = coco_folder / "annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["images"][3]["file_name"] = name
    path.write_text(json.dumps(content))
    out = coco_folder.parent / "selection.parquet"
    with pytest.raises(DataError) as caught:
        select_images(
            path.parent, out, out.with_name("attribution"), config=FilterConfig(keywords=("thing",))
        )
    said = str(caught.value)
    assert (
        f"captions_train2017.json is not a COCO captions file: images[3].file_name: {LEAVES}"
        in (said)
    )
    assert 1 == len(said.splitlines())
    assert not out.exists()


@pytest.mark.parametrize(("column", "value"), [("file_name", "../x"), ("source_split", "..")])
def test_an_edited_selection_is_refused(coco_folder: Path, column: str, value: str):
    """The Parquet file is read with the rule that made it: no other way leads to a file."""
    out = coco_folder.parent / "selection.parquet"
    select_images(
        coco_folder / "annotations",
        out,
        out.with_name("attribution"),
        config=FilterConfig(keywords=("thing",)),
    )
    table = pq.read_table(out)
    place = table.column_names.index(column)
    values = [value, *table[column].to_pylist()[1:]]
    pq.write_table(table.set_column(place, column, [values]), out)
    with pytest.raises(DataError, match="run the filter stage again") as caught:
        read_selection(out)
    assert 1 == len(str(caught.value).splitlines())


@pytest.mark.parametrize("digest", ["../secret", "/etc/passwd", "0" * 64 + "\n", "A" * 64, ""])
def test_an_edited_index_is_refused(tmp_path: Path, digest: str):
    """Images are read out of the store of originals alone."""
    write_index(tmp_path, [ImageRow(7, "ok", sha256=digest, size_bytes=1)])
    with pytest.raises(DataError, match=r"image 7: .* is no sha256"):
        read_index(tmp_path)


def remote(**changes: Any) -> dict[str, Any]:
    """A file as source.json describes it."""
    known = {"name": "a.zip", "urls": ["https://h/a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    return {**known, **changes}


def said_of(root: Path, annotations: dict[str, Any], urls: list[str]) -> str:
    """What reading such a source.json says."""
    content = {
        "kind": "coco",
        "annotations": annotations,
        "images": {"train2017": {"urls": urls}},
    }
    (root / "source.json").write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        read_source(root)
    assert 1 == len(str(caught.value).splitlines())
    return str(caught.value)


@pytest.mark.parametrize("name", LEAVING)
def test_an_archive_s_name_is_refused_with_its_key(tmp_path: Path, name: str):
    """A name in source.json follows the same rule, since it is joined to the cache's folder."""
    said = said_of(tmp_path, remote(name=name), ["https://h/{file_name}"])
    assert f"source.json: coco.annotations.name: {LEAVES}" in said


@pytest.mark.parametrize(
    "url",
    [
        *("https://h/{file_name.__class__}", "https://h/{0}", "https://h/{}", "https://h/{name}"),
        *("https://h/{file_name!r}", "https://h/{file_name:>9}", "https://h/{file_name[0]}"),
        *("https://h/{file_name", "https://h/file_name}", "https://h/a.jpg", "https://h/{{}}"),
        *("https://{file_name}", "https://h{file_name}", "file:{file_name}", "file://{file_name}"),
        *("{file_name}", "ftp://h/{file_name}", "/etc/{file_name}"),
    ],
)
def test_an_address_has_the_file_name_in_its_path_and_nothing_else(tmp_path: Path, url: str):
    """Another field, a look into the name, or none at all is refused with its key."""
    said = said_of(tmp_path, remote(), ["https://h/{file_name}", url])
    assert "source.json: coco.images.train2017.urls.1: Input should be an http, https or file" in (
        said
    )


def test_addresses_as_data_sets_have_them_are_read(tmp_path: Path):
    """A server's path, a query and a local folder may each hold the name."""
    urls = ["https://h/t/{file_name}", "http://h:80/?f={file_name}", "file:///m/t/{file_name}"]
    images = {"train2017": {"urls": urls}}
    content = {"kind": "coco", "annotations": remote(), "images": images}
    (tmp_path / "source.json").write_text(json.dumps(content))
    assert tuple(urls) == read_source(tmp_path).images["train2017"].urls


@pytest.mark.parametrize("digest", ["0" * 63, "0" * 64 + "\n", "G" * 64, "../" + "0" * 61])
def test_a_digest_that_names_a_folder_is_one(digest: str):
    """The folder of an archive is made of its digest, which is 64 digits and no line end."""
    with pytest.raises(ValidationError, match="sha256"):
        RemoteFile(name="a", urls=("https://h/a",), size_bytes=1, sha256=digest)

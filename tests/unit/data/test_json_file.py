import json
from mmap import ACCESS_READ, mmap
from pathlib import Path

import pytest

from bucolic.base.errors import DataError
from bucolic.data.json_file import cut_json, parse_json

CONTENT = {
    "info": {"images": "none of these"},
    "images": [{"id": 1, "name": 'a "]" and a \\'}, {"id": 2, "boxes": [[1, 2], [3]]}, {}],
    "annotations": [],
    "licenses": [{"id": 4}],
}
KEYS = ("images", "annotations", "categories")


def records(content: bytes | mmap) -> tuple[object, dict[str, list[object]]]:
    """The head and, parsed, the records of a cut file."""
    file = cut_json(content, KEYS, "f.json")
    return file.head, {
        key: [record for batch in file.batches(key, 2) for record in json.loads(batch)]
        for key in file.lists
    }


@pytest.mark.parametrize("indent", [None, 3])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_a_file_is_cut_into_its_records_however_it_is_written(indent: int | None, encoding: str):
    """What stands beside the lists is the head, where the lists are empty."""
    head, lists = records(json.dumps(CONTENT, indent=indent).encode(encoding))
    assert head == CONTENT | {"images": [], "annotations": []}
    assert lists == {"images": CONTENT["images"], "annotations": []}


def test_a_mapped_file_is_cut_more_than_once(tmp_path: Path):
    """Memory that was handed back is read from the file again."""
    path = tmp_path / "f.json"
    path.write_text(json.dumps(CONTENT | {"images": [{"id": i} for i in range(50_000)]}))
    with path.open("rb") as file:
        mapped = mmap(file.fileno(), 0, access=ACCESS_READ)
    for _ in range(2):
        _, lists = records(mapped)
        assert [{"id": i} for i in range(50_000)] == lists["images"]


def test_numbers_that_only_python_writes_are_read():
    """NaN is no JSON, and tools of Python write it."""
    _, lists = records(b'{"images": [{"id": NaN}, {"id": 2}], "annotations": [1]}')
    assert ["nan", "2"] == [str(record["id"]) for record in lists["images"]]  # type: ignore[index]
    assert [1] == lists["annotations"]


@pytest.mark.parametrize("content", [b"[1, 2]", b"7", b"null", b'{"images": {"0": 1}}'])
def test_what_has_no_such_list_is_all_head(content: bytes):
    """Whoever asks for a list that is not there can say so."""
    head, lists = records(content)
    assert json.loads(content) == head
    assert {} == lists


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"images": [1], "images": [2]}', "the key 'images' stands twice"),
        (b'{"images": [1], "images": null}', "the key 'images' stands twice"),
        (b'{"images": [1], "x": {"y": 1, "y": 2}}', "the key 'y' stands twice"),
        (b'{"images": [1, 2', "is not valid JSON (Expecting"),
        (b'{"images": [1]} 5', "is not valid JSON (Extra data"),
        (b"", "is not valid JSON (Expecting value"),
        (b"[" * 100_000, "is not valid JSON (maximum recursion"),
        (b"PK\x03\x04 and more", "is packed (zip)"),
        (b'{"x": "\xff", "images": []}', "is not valid UTF-8"),
    ],
)
def test_a_broken_file_is_told_as_when_it_is_parsed_whole(content: bytes, said: str):
    """One line names the file and what is wrong, whoever finds it."""
    for read in (lambda: parse_json(content, "f.json"), lambda: cut_json(content, KEYS, "f.json")):
        with pytest.raises(DataError, match=r"^f\.json is ") as caught:
            read()
        assert said in str(caught.value)

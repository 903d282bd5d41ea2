"""Atomic writes and fingerprints."""

import hashlib
from pathlib import Path

import pytest

from bucolic.files import file_digest, fingerprint, remove, replacing, write_json, write_text


def test_a_failed_write_leaves_the_old_file(tmp_path: Path):
    """An error while writing keeps the former content and no temporary file."""
    path = tmp_path / "a" / "file.txt"
    write_text(path, "old")
    with pytest.raises(FileNotFoundError), replacing(path) as temporary:
        (temporary / "no" / "folder").write_text("half")
    assert "old" == path.read_text()
    assert [path] == list(path.parent.iterdir())


def test_a_folder_replaces_a_folder_whole(tmp_path: Path):
    """A folder written anew holds nothing of the former one."""
    path = tmp_path / "out"
    for name in ("first", "second"):
        with replacing(path) as folder:
            folder.mkdir()
            (folder / name).write_text(name)
    assert ["second"] == [entry.name for entry in path.iterdir()]


def test_removing_follows_no_link(tmp_path: Path):
    """A link to a folder, itself or inside what is removed, goes; what it leads to stays."""
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "dear.txt").write_text("mine")
    (tmp_path / "link").symlink_to(kept)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/link").symlink_to(kept)
    for name in ("link", "folder"):
        remove(tmp_path / name)
    assert [kept] == list(tmp_path.iterdir())
    assert "mine" == (kept / "dear.txt").read_text()


def test_what_replaces_a_link_leaves_its_target_alone(tmp_path: Path):
    """A file or folder is put in a link's place, and never written through it."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/dear.txt").write_text("mine")
    (tmp_path / "folder").symlink_to("kept")
    (tmp_path / "file").symlink_to("kept/dear.txt")
    write_text(tmp_path / "file", "new")
    with replacing(tmp_path / "folder") as folder:
        folder.mkdir()
    assert ["mine"] == [path.read_text() for path in (tmp_path / "kept").iterdir()]
    assert "new" == (tmp_path / "file").read_text()
    assert [] == list((tmp_path / "folder").iterdir())


def test_json_refuses_nan_and_sorts_keys(tmp_path: Path):
    """Figures are plain JSON: sorted keys, and NaN is an error rather than a broken file."""
    write_json(tmp_path / "x.json", {"b": 1, "a": 2})
    assert '{\n  "a": 2,\n  "b": 1\n}\n' == (tmp_path / "x.json").read_text()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"b": float("nan")})


def test_digests_depend_on_content_alone(tmp_path: Path):
    """A file's digest is that of its bytes; a fingerprint ignores the order of keys."""
    write_text(tmp_path / "x", "abc")
    assert hashlib.sha256(b"abc").hexdigest() == file_digest(tmp_path / "x")
    assert fingerprint({"a": 1, "b": [2]}) == fingerprint({"b": [2], "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})

"""Atomic writes and fingerprints."""

import hashlib
from pathlib import Path

import pytest

from bucolic.files import file_digest, fingerprint, replacing, write_json, write_text


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

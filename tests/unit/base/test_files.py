"""Atomic writes and fingerprints."""

import hashlib
import os
import time
from pathlib import Path

import pytest

from bucolic.base.files import (
    ABANDONED_S,
    clone,
    file_digest,
    fingerprint,
    remove,
    replacing,
    this_process,
    write_json,
    write_text,
)

NO_PROCESS = 1 << 22  # the kernel gives out none so high


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


def test_what_a_killed_process_left_is_swept_and_others_work_is_not(tmp_path: Path):
    """Its own host's dead go at once, another host's only after a day without a sign of life."""
    path, space = tmp_path / "out", this_process().rpartition("-")[0]
    names = {
        "dead": f".out.0.{space}-{NO_PROCESS}.tmp",
        "alive": f".out.0.{this_process()}.tmp",
        "elsewhere": f".out.0.0123abcd-{NO_PROCESS}.tmp",
        "silent": f".out.1.0123abcd-{NO_PROCESS}.tmp",
    }
    for name in names.values():
        write_text(tmp_path / name / "part", "half")
    long_ago_s = time.time() - ABANDONED_S - 60
    for place in (tmp_path / names["silent"] / "part", tmp_path / names["silent"]):
        os.utime(place, (long_ago_s, long_ago_s))
    with replacing(path) as temporary:
        temporary.write_text("whole")
    assert {"out", names["alive"], names["elsewhere"]} == {p.name for p in tmp_path.iterdir()}


def test_texts_and_json_sweep_too(tmp_path: Path):
    """A process killed while it wrote a stage's figures leaves nothing that stays."""
    left = tmp_path / f".out.0.{this_process().rpartition('-')[0]}-{NO_PROCESS}.tmp"
    for write in (lambda path: write_text(path, "whole"), lambda path: write_json(path, [1])):
        left.write_text("ha")
        write(tmp_path / "out")
        assert [tmp_path / "out"] == list(tmp_path.iterdir())


def test_two_threads_may_write_one_path(tmp_path: Path):
    """Each has a temporary name of its own, and the last one to end is what is there."""
    path = tmp_path / "x"
    with replacing(path) as first, replacing(path) as second:
        first.write_text("first")
        second.write_text("second")
    assert "first" == path.read_text()
    assert [path] == list(tmp_path.iterdir())


def test_a_name_as_long_as_the_file_system_takes_can_be_written(tmp_path: Path):
    """The temporary name is short, and its leavings are found all the same."""
    path = tmp_path / ("x" * 255)
    write_text(path, "whole")
    assert "whole" == path.read_text()


def test_a_clone_is_the_same_file_until_one_is_replaced(tmp_path: Path):
    """No bytes are copied where links are to be had, and replacing one leaves the other."""
    write_text(tmp_path / "a/b/c", "content")
    clone(tmp_path / "a", tmp_path / "d")
    assert (tmp_path / "a/b/c").samefile(tmp_path / "d/b/c")
    write_text(tmp_path / "a/b/c", "other")
    assert "content" == (tmp_path / "d/b/c").read_text()

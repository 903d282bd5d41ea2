import hashlib
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bucolic.base.files import process_name, this_process, write_bytes
from bucolic.data import original_store
from bucolic.data.images import ImageRow
from bucolic.data.original_store import LostError, OriginalStore

CONTENT = b"a picture" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
ROW = ImageRow(7, "ok", size_bytes=len(CONTENT), sha256=DIGEST)


def test_a_file_is_kept_once_by_what_it_holds(tmp_path: Path):
    """Whoever adds it, at the same time or later, and from whichever checkout."""
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(OriginalStore(tmp_path).add, [CONTENT] * 32))
    assert {DIGEST} == digests
    assert [CONTENT] == [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert CONTENT == OriginalStore(tmp_path).read(7, DIGEST)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(CONTENT[:-1]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(CONTENT[:-1] + b"X"),
    ],
    ids=["gone", "cut off", "empty", "of other bytes"],
)
def test_a_file_that_is_lost_or_torn_is_never_read_as_it_is(
    tmp_path: Path, spoil: Callable[[Path], object]
):
    """One line says how to get it again; adding it mends what is not whole."""
    store = OriginalStore(tmp_path)
    store.add(CONTENT)
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    spoil(path)
    with pytest.raises(LostError, match=r"image 7 is lost .*: bucolic images gets it again"):
        store.read(7, DIGEST)
    assert [ROW] == store.lost([ROW])
    store.add(CONTENT)
    assert CONTENT == store.read(7, DIGEST)


def test_lost_files_are_told_by_their_rows(tmp_path: Path):
    """Rows without a file lose none; those of another size are lost as well."""
    store = OriginalStore(tmp_path)
    store.add(CONTENT)
    failed = ImageRow(1, "corrupt", "it breaks off")
    absent = ImageRow(2, "ok", size_bytes=1, sha256="0" * 64)
    assert [absent] == store.lost([failed, ROW, absent])


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path):
    """And nothing that a process which lives is writing."""
    store = OriginalStore(tmp_path)
    store.add(CONTENT)
    (kept,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    asked = [sys.executable, "-c", "import os; print(os.getpid())"]
    ended = int(subprocess.run(asked, check=True, capture_output=True).stdout)
    left = kept.with_name(f".{DIGEST}.0.{process_name(ended)}.tmp")
    being_written = kept.with_name(f".{DIGEST}.1.{this_process()}.tmp")
    for path in (left, being_written):
        path.write_bytes(b"half")
    store.sweep()
    assert {kept, being_written} == {path for path in tmp_path.rglob("*") if path.is_file()}


def test_a_file_that_stays_is_given_a_second_name(tmp_path: Path):
    """It takes no room; changed in its place it is lost to the store, and the user's own stays."""
    own = tmp_path / "photographs/1.jpg"
    own.parent.mkdir()
    own.write_bytes(CONTENT)
    store = OriginalStore(tmp_path / "cache")
    store.add(CONTENT, place=own)
    assert own.stat().st_nlink == 2
    assert CONTENT == store.read(7, DIGEST)
    own.write_bytes(CONTENT[::-1])
    assert store.find(DIGEST) is None
    assert own.read_bytes() == CONTENT[::-1]
    store.add(CONTENT, place=tmp_path / "nowhere.jpg")
    assert CONTENT == store.read(7, DIGEST)


@pytest.mark.parametrize("relative", [True, False])
def test_a_link_to_a_photograph_is_kept_as_the_photograph(tmp_path: Path, relative: bool):
    """Which stays where its folder of links goes."""
    own, shown = tmp_path / "library/1.jpg", tmp_path / "theme/1.jpg"
    for path in (own, shown):
        path.parent.mkdir()
    own.write_bytes(CONTENT)
    shown.symlink_to(Path("../library/1.jpg") if relative else own)
    store = OriginalStore(tmp_path / "cache")
    store.add(CONTENT, place=shown)
    assert own.stat().st_nlink == 2
    shown.unlink()
    own.unlink()
    assert CONTENT == store.read(7, DIGEST)


def test_a_file_that_was_changed_under_its_second_name_is_kept_anew_from_elsewhere(tmp_path: Path):
    """Though it is as long as before; another data set has it as it was."""
    first, second = tmp_path / "1.jpg", tmp_path / "2.jpg"
    for path in (first, second):
        path.write_bytes(CONTENT)
    store = OriginalStore(tmp_path / "cache")
    store.add(CONTENT, place=first)
    first.write_bytes(CONTENT[::-1])
    store.add(CONTENT, place=second)
    assert CONTENT == store.read(7, DIGEST)


def test_a_torn_file_is_replaced_and_not_written_into(tmp_path: Path):
    """It may be the user's by another name."""
    own = tmp_path / "1.jpg"
    own.write_bytes(CONTENT)
    store = OriginalStore(tmp_path / "cache")
    store.add(CONTENT, place=own)
    own.write_bytes(CONTENT[:-1])
    store.add(CONTENT, place=own)
    assert CONTENT == store.read(7, DIGEST)
    assert own.read_bytes() == CONTENT[:-1]


def test_many_may_keep_a_file_anew_at_once_whose_second_name_was_changed(tmp_path: Path):
    """Whoever finds it damaged removes it, while others look whether it is there."""
    own = tmp_path / "1.jpg"
    for number in range(200):
        store = OriginalStore(tmp_path / f"cache-{number}")
        own.write_bytes(CONTENT)
        store.add(CONTENT, place=own)
        own.write_bytes(CONTENT[::-1])
        with ThreadPoolExecutor(8) as pool:
            assert [DIGEST] * 8 == list(pool.map(store.add, [CONTENT] * 8))
        assert CONTENT == store.read(7, DIGEST)


def test_a_file_that_was_kept_anew_meanwhile_is_not_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is damaged is what was read, not what has that name by now."""
    store = OriginalStore(tmp_path)
    store.add(CONTENT)
    path = next(path for path in tmp_path.rglob(DIGEST))
    path.write_bytes(CONTENT[::-1])

    def while_another_keeps_it(content: bytes) -> Any:
        write_bytes(path, CONTENT, lasting=False)
        return hashlib.sha256(content)

    module = SimpleNamespace(sha256=while_another_keeps_it)
    monkeypatch.setattr(original_store, "hashlib", module)
    assert store.find(DIGEST) is None
    assert CONTENT == path.read_bytes()

"""Packs: small contents appended to large files, whole or not there."""

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bucolic.data.packs import Packs

CONTENTS = {f"name {n}": bytes([n]) * (100 * n) for n in range(20)}


@pytest.fixture
def packs(tmp_path: Path) -> Packs:
    """Some contents, which one store has added."""
    store = Packs(tmp_path / "packs")
    for name, content in CONTENTS.items():
        store.add(name, content)
    return store


def pack_of(folder: Path) -> Path:
    """The only pack there."""
    (path,) = folder.glob("packs/*.pack")
    return path


def test_what_is_added_is_found_by_who_added_it_and_by_who_opens_it_later(
    packs: Packs, tmp_path: Path
):
    """Here, in a store that was opened before it, and in one that was sent to a process."""
    for store in (packs, Packs(tmp_path / "packs"), pickle.loads(pickle.dumps(packs))):  # noqa: S301 - our own
        assert CONTENTS == {name: store.find(name) for name in CONTENTS}
        assert all(store.holds(name) for name in CONTENTS)
        assert not store.holds("another")
        assert store.find("another") is None
    assert pack_of(tmp_path).exists()


def test_of_contents_of_one_name_the_last_of_the_newest_pack_counts(packs: Packs, tmp_path: Path):
    """In one pack, and over packs."""
    packs.add("name 3", b"newer")
    assert packs.find("name 3") == b"newer"
    assert Packs(tmp_path / "packs").find("name 3") == b"newer"
    later = Packs(tmp_path / "packs")
    later.add("name 3", b"newest")
    assert Packs(tmp_path / "packs").find("name 3") == b"newest"


def test_a_name_with_the_same_64_bits_is_no_other(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Its content is not given for another's, only lost, and whoever needs it makes it again."""
    monkeypatch.setattr("bucolic.data.packs._key_of", lambda _: 0)
    packs.add("one", b"of one")
    assert packs.find("another") is None
    packs.add("another", b"of another")
    assert packs.find("another") == b"of another"
    later = Packs(tmp_path / "packs")
    assert later.find("another") == b"of another"
    assert later.find("one") is None


@pytest.mark.parametrize("lost_bytes", [1, 1000, 1900 + 40])
def test_a_torn_end_is_one_record_less(packs: Packs, tmp_path: Path, lost_bytes: int):
    """A killed process leaves it; what stands before it is whole."""
    path = pack_of(tmp_path)
    os.truncate(path, path.stat().st_size - lost_bytes)
    store = Packs(tmp_path / "packs")
    assert not store.holds("name 19")
    assert store.find("name 18") == CONTENTS["name 18"]
    store.add("name 19", CONTENTS["name 19"])
    again = Packs(tmp_path / "packs")
    assert CONTENTS == {name: again.find(name) for name in CONTENTS}


def test_a_changed_content_is_not_given(packs: Packs, tmp_path: Path):
    """Its digest is looked at, and it is not held any more."""
    path = pack_of(tmp_path)
    content = path.read_bytes()
    path.write_bytes(content.replace(CONTENTS["name 7"], b"8" * 700))
    assert packs.find("name 7") is None
    assert not packs.holds("name 7")
    assert packs.find("name 8") == CONTENTS["name 8"]


@pytest.mark.parametrize("fails", [True, False], ids=["an error", "half a record"])
def test_nothing_is_appended_behind_what_a_full_disk_cut(
    packs: Packs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
):
    """The error is the disk's, and says where; what comes later goes into another pack."""
    write, taken_bytes = os.write, 0 if fails else 50

    def cut(descriptor: int, record: bytes) -> int:
        nonlocal taken_bytes
        if not taken_bytes:
            raise OSError(28, "No space left on device")
        taken, taken_bytes = record[:taken_bytes], 0
        return write(descriptor, taken)

    with monkeypatch.context() as patch:
        patch.setattr("bucolic.data.packs.os.write", cut)
        with pytest.raises(OSError, match=r"No space left on device: '.*\.pack'"):
            packs.add("cut", b"c" * 100)
    packs.add("behind", b"b" * 100)
    store = Packs(tmp_path / "packs")
    assert not store.holds("cut")
    assert store.find("behind") == b"b" * 100
    assert CONTENTS == {name: store.find(name) for name in CONTENTS}


ADDING = """
import sys
from pathlib import Path
from bucolic.data.packs import Packs
packs = Packs(Path(sys.argv[1]))
for number in range(1_000_000):
    packs.add(f"{sys.argv[2]} {number}", f"{sys.argv[2]} {number} ".encode() * 500)
    print(number, flush=True)
"""


def test_processes_add_at_once_and_one_that_is_killed_loses_no_more_than_it_was_writing(
    tmp_path: Path,
):
    """What each said to have added is found, whole."""
    asked = [sys.executable, "-c", ADDING, str(tmp_path / "packs")]
    pipes = {"stdout": subprocess.PIPE, "text": True}
    children = {name: subprocess.Popen([*asked, name], **pipes) for name in ("a", "b", "c")}
    for child in children.values():
        child.stdout.readline()
    said = {}
    for name, child in children.items():
        child.kill()
        said[name] = 1 + len(child.communicate()[0].splitlines())
    store = Packs(tmp_path / "packs")
    for name, count in said.items():
        for number in range(count):
            assert store.find(f"{name} {number}") == f"{name} {number} ".encode() * 500


def test_many_packs_take_few_descriptors(tmp_path: Path):
    """A store that many workers filled is read where few files may be open."""
    for number in range(60):
        Packs(tmp_path / "packs").add(f"{number}", bytes([number]))
    store = Packs(tmp_path / "packs")
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert [store.find(f"{number}") for number in range(60)] == [bytes([n]) for n in range(60)]
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_threads_may_add_and_find_at_once(tmp_path: Path):
    """Each finds what it added."""
    store = Packs(tmp_path / "packs")

    def work(number: int) -> Iterator[bytes | None]:
        for k in range(50):
            store.add(f"{number} {k}", bytes([number, k]))
            yield store.find(f"{number} {k}")

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: list(work(n)), range(8)))
    assert found == [[bytes([n, k]) for k in range(50)] for n in range(8)]


def test_names_that_are_added_join_the_others_and_stay_what_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A dictionary holds the latest alone: it takes ten times as much for each."""
    monkeypatch.setattr("bucolic.data.packs.CHANGES_APART", 8)
    store = Packs(tmp_path / "packs")
    expected = {}
    for number in range(50):
        name = f"name {number % 20}"
        expected[name] = b"%d" % number
        store.add(name, expected[name])
        assert len(store._known()._changed) < 8
    assert expected == {name: store.find(name) for name in expected}
    assert expected == {name: Packs(tmp_path / "packs").find(name) for name in expected}


def test_a_pack_that_is_deleted_under_an_open_store_holds_nothing_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What it held is made again, and found again."""
    monkeypatch.setattr("bucolic.data.packs.CHANGES_APART", 8)
    writer = Packs(tmp_path / "packs")
    for name, content in CONTENTS.items():
        writer.add(name, content)
    store = Packs(tmp_path / "packs")
    assert store.holds("name 3")
    pack_of(tmp_path).unlink()
    assert [None] * len(CONTENTS) == [store.find(name) for name in CONTENTS]
    assert not any(store.holds(name) for name in CONTENTS)
    store.add("name 3", b"again")
    assert b"again" == store.find("name 3")

"""Our digests are DVC's."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bucolic.pipeline.digests import digest

REPOSITORY = Path(__file__).resolve().parents[3]


def test_digests_of_files_and_folders_are_dvcs_own(tmp_path: Path):
    """`dvc add` gives a file and a nested folder the very digest that records hold."""
    folder = tmp_path / "data"
    (folder / "b.d" / "c").mkdir(parents=True)
    for name in ("a.txt", "b.d/x", "b.d/c/y", "b-e", "b.txt", "ä.txt"):
        (folder / name).write_text(name)
    (tmp_path / "one.bin").write_bytes(bytes(3_000_000))
    for command in (["init", "--no-scm", "-q"], ["add", "-q", "data", "one.bin"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    for name in ("data", "one.bin"):
        recorded = YAML(typ="safe").load(tmp_path / f"{name}.dvc")["outs"][0]["md5"]
        assert recorded == digest(tmp_path / name)


def test_nothing_has_no_digest(tmp_path: Path):
    """A path with nothing there has the digest None."""
    assert digest(tmp_path / "nothing") is None


def test_digests_of_links_are_dvcs_own(tmp_path: Path):
    """A stage that reads a folder of links: DVC's lock has the digest that records hold.

    Links to files count with what they lead to; linked folders, and so loops, are passed over; the
    folder itself may be a link.
    """
    folder, elsewhere = tmp_path / "real", tmp_path / "elsewhere"
    (folder / "sub").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (folder / "a", folder / "sub/b", elsewhere / "c"):
        path.write_text(path.name)
    (folder / "sub/file").symlink_to("../../elsewhere/c")
    (folder / "sub/up").symlink_to("..")
    (folder / "out").symlink_to("../elsewhere")
    (tmp_path / "data").symlink_to("real")
    stages = {"read": {"cmd": "echo", "deps": ["data", "real"]}}
    YAML(typ="safe").dump({"stages": stages}, tmp_path / "dvc.yaml")
    for command in (["init", "--no-scm", "-q"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    locked = YAML(typ="safe").load(tmp_path / "dvc.lock")["stages"]["read"]["deps"]
    assert {"data", "real"} == {dep["path"] for dep in locked}
    for dep in locked:
        assert dep["md5"] == digest(tmp_path / dep["path"])
    before = digest(folder)
    (elsewhere / "d").write_text("in the linked folder alone")
    assert before == digest(folder)
    (elsewhere / "c").write_text("what the linked file leads to")
    assert before != digest(folder)


CODE = {
    "src/room/module.py": "a = 1",
    "src/room/deeper/other.py": "b = 2",
    "src/room/__pycache__/module.cpython-311.pyc": "compiled",
    "src/room/deeper/__pycache__/other.cpython-312.pyc": "compiled",
    "src/room/old.pyc": "compiled",
    "src/room/.module.py.swp": "an editor's",
    "src/room/module.py~": "an editor's",
    "src/room/#module.py#": "an editor's",
    "src/room/.hidden/file": "a tool's",
    "data/set/__pycache__/a.txt": "what a user named so",
    "data/set/.git/config": "never DVC's",
    "data/.dvcignore": "*.tmp\n!kept.tmp\n",
    "data/set/b.tmp": "left out by a rule above it",
    "data/set/kept.tmp": "taken in again",
    "data/set/other/.dvc/config": "a project of its own, which DVC passes over",
    "data/set/other/d.txt": "likewise",
    "data/set/sub/c.txt": "taken",
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with the repository's own .dvcignore, which has run once."""
    for name, content in CODE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / ".dvcignore").write_text((REPOSITORY / ".dvcignore").read_text())
    stages = {"read": {"cmd": "echo", "deps": ["src/room", "data/set"]}}
    YAML(typ="safe").dump({"stages": stages}, tmp_path / "dvc.yaml")
    for command in (["init", "--no-scm", "-q"], ["repro", "-q"]):
        subprocess.run([sys.executable, "-m", "dvc", *command], cwd=tmp_path, check=True)
    return tmp_path


def test_what_dvcignore_names_is_no_part_of_a_folder(checkout: Path):
    """Bytecode, swap files and rules of a folder's own: DVC's lock has our digests."""
    locked = YAML(typ="safe").load(checkout / "dvc.lock")["stages"]["read"]["deps"]
    assert {dep["path"]: dep["md5"] for dep in locked} == {
        name: digest(checkout / name, checkout) for name in ("src/room", "data/set")
    }
    assert digest(checkout / "src/room", checkout) != digest(checkout / "src/room")


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("src/room/__pycache__/new.cpython-313.pyc", False),
        ("src/room/.other.py.swp", False),
        ("src/room/deeper/other.py~", False),
        ("src/room/new.py", True),
        ("src/room/weights.bin", True),
        ("data/set/sub/d.txt", True),
    ],
)
def test_a_new_file_counts_for_us_where_it_counts_for_dvc(checkout: Path, name: str, counts: bool):
    """An added module changes the digest and the status; what tools leave changes neither."""
    folders = ("src/room", "data/set")
    before = [digest(checkout / folder, checkout) for folder in folders]
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("new")
    after = [digest(checkout / folder, checkout) for folder in folders]
    status = [sys.executable, "-m", "dvc", "status", "--json"]
    done = subprocess.run(status, cwd=checkout, capture_output=True, text=True, check=True)
    assert (before != after) == counts
    assert bool(json.loads(done.stdout)) == counts

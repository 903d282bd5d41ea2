"""Our digests are DVC's."""

import subprocess
import sys
from pathlib import Path

from ruamel.yaml import YAML

from bucolic.pipeline.digests import digest


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

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

"""DVC's own experiments, under the environment of another checkout: each runs the code it has."""

import json
import shutil
from pathlib import Path

import pytest

from project import ROOT, Project, copy_project

MODULE = "src/bucolic/stages/filter.py"


class Guest(Project):
    """A checkout worked in under another one's environment."""

    def environment(self) -> dict[str, str]:
        """As ever, but for the package that is found first."""
        return super().environment() | {"PYTHONPATH": str(ROOT / "src")}

    def mark(self, word: str) -> None:
        """Let the filter stage say a word when it is imported."""
        text = (ROOT / MODULE).read_text()
        (self.root / MODULE).write_text(f"{text}\nprint('RAN', __file__, '{word}')\n")


@pytest.fixture
def guest(tmp_path: Path, coco_folder: Path) -> Guest:
    """Its annotations are made and committed, and there is nothing else to do."""
    copied = Guest(copy_project(tmp_path / "bucolic").root)
    shutil.move(coco_folder, copied.root / "datasets/photographs")
    copied.set_param("dataset", "root", "datasets/photographs")
    copied.set_param("clip", "allow_mismatch", value=True)
    copied.mark("PLAIN")
    copied.run("dvc", "repro", "filter")
    for command in (["add", "-A"], ["commit", "-qm", "photographs"]):
        copied.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", *command)
    return copied


def test_temporary_and_queued_experiments_run_the_code_they_were_made_with(guest: Guest):
    """Edits made before are in, edits made after are not, and digests are those of what ran."""
    guest.mark("BEFORE")
    ran = guest.run("dvc", "exp", "run", "--temp", "-S", "filter.match=substring", "filter")
    (line,) = [line for line in ran.stdout.splitlines() if line.startswith("RAN ")]
    assert "/.dvc/tmp/exps/" in line
    assert line.endswith("BEFORE")
    guest.run("dvc", "exp", "run", "--queue", "-S", "filter.keywords=[cow,fence]", "filter")
    guest.mark("AFTER")
    queued = guest.run("dvc", "exp", "run", "--run-all").stdout
    assert "BEFORE" in queued
    assert "AFTER" not in queued
    made = [json.loads(path.read_text()) for path in (guest.root / ".work/outbox").glob("*.json")]
    digests = [record["code"][MODULE] for record in made if record["stage"] == "filter"]
    assert 3 == len(digests)
    assert 2 == len(set(digests))

"""Work that was done stays done: finished results until DVC has them, partial work for a while."""

import errno
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from bucolic.base.errors import TransientError
from bucolic.base.files import write_text
from bucolic.base.lock import holding
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.cli import main
from bucolic.pipeline import kept
from bucolic.pipeline.digests import digest
from bucolic.pipeline.execute import execute
from bucolic.pipeline.kept import KEPT_S, lock_of
from bucolic.pipeline.params import Params
from bucolic.presets import preset_text

DVC_YAML = """
stages:
  filter:
    cmd: bucolic filter
    params: [filter]
    deps: [data/annotations, src/code.py]
    outs: [data/selection, reports/records/filter.json]
    metrics: [reports/filter.json]
"""
OUT = Path("data/selection/rows.txt")
RECORD = Path("reports/records/filter.json")
FIGURES = Path("reports/filter.json")
CLEAR_UP = """
import sys; from pathlib import Path
from bucolic.pipeline.kept import forget_committed, forget_old
forget_committed(Path(sys.argv[1])); forget_old(Path(sys.argv[1]), kept_s=0)
"""
WORDS = preset_text("meadow")
SUBSTRINGS = WORDS.replace("match: word", "match: substring")


class Project:
    """A checkout with one stage that counts how often it computes.

    Attributes:
        root: its folder, HOME as well.
        runs: how often the stage's function was called.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.runs = 0
        for name, text in {
            "dvc.yaml": DVC_YAML,
            "params.yaml": WORDS,
            "data/annotations/a.json": "{}",
            "src/code.py": "x = 1",
        }.items():
            write_text(root / name, text)

    def run(self, edit: str | None = None) -> None:
        """Run the stage as its verb does; `edit` is what params.yaml becomes meanwhile."""

        def call(params: Params, runtime: Runtime) -> Summary:
            self.runs += 1
            write_text(runtime.work / "part", "half of it")
            write_text(self.root / OUT, params.filter.match)
            if edit:
                write_text(self.root / "params.yaml", edit)
            return Summary(Rows(5, 5), figures={"selected": 5})

        execute("filter", self.root, call)

    def lose_outs(self) -> None:
        """Delete the outs, as DVC does before it runs a stage."""
        for path in (OUT, RECORD, FIGURES):
            (self.root / path).unlink(missing_ok=True)

    def outs(self) -> list[bytes]:
        """The bytes of all outs."""
        return [(self.root / path).read_bytes() for path in (OUT, RECORD, FIGURES)]

    def commit(self) -> None:
        """Write dvc.lock as DVC does after a stage."""
        places = ("data/selection", str(RECORD), str(FIGURES))
        outs = [{"path": path, "md5": digest(self.root / path)} for path in places]
        write_text(self.root / "dvc.lock", json.dumps({"stages": {"filter": {"outs": outs}}}))

    def kept(self, kind: str = "finished") -> list[Path]:
        """Folders of kept work."""
        return sorted((self.root / ".work" / kind).glob("*/*"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A fresh project."""
    return Project(tmp_path)


def test_a_finished_result_that_dvc_never_wrote_down_is_put_back(project: Project):
    """The same bytes, record included, without a second computation or a second record to send."""
    project.run()
    before = project.outs()
    project.lose_outs()
    project.run()
    assert (1, before) == (project.runs, project.outs())
    assert 1 == len(list((project.root / ".work/outbox").iterdir()))


def test_a_result_that_is_put_back_belongs_to_who_drives_the_pipeline_now(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """The DVC that made it is dead, and its end must not end the run that goes on."""
    monkeypatch.setenv("BUCOLIC_DRIVER", "former-1")
    project.run()
    project.lose_outs()
    monkeypatch.setenv("BUCOLIC_DRIVER", "present-2")
    project.run()
    (waiting,) = (project.root / ".work/outbox").iterdir()
    assert json.loads(waiting.read_text())["driver"] == "present-2"


def test_a_result_that_dvc_has_is_kept_no_longer(project: Project):
    """Once dvc.lock lists its outs, a run that DVC asks for is a run that the user forced."""
    project.run()
    project.commit()
    project.lose_outs()
    project.run()
    assert 2 == project.runs


def test_a_lock_of_a_former_run_with_the_same_outs_is_not_this_one_s(project: Project):
    """Outs are the same whenever they are made; which execution DVC has, the record tells."""
    project.run()
    project.commit()
    write_text(project.root / "src/code.py", "x = 1  # the same, in other words")
    project.run()
    assert 2 == project.runs
    project.lose_outs()
    project.run()
    assert 2 == project.runs


def test_a_full_disk_does_not_make_finished_work_undone(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """What cannot be put back now is put back later, and never made anew meanwhile."""
    project.run()
    before = project.outs()
    project.lose_outs()

    def full(_path: Path, _target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kept, "clone", full)
    with pytest.raises(OSError, match="No space left"):
        project.run()
    monkeypatch.undo()
    project.run()
    assert (1, before) == (project.runs, project.outs())


def test_all_processes_of_torchrun_know_that_it_was_finished(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """None of them waits for another that has nothing left to do."""
    project.run()
    for rank in "10":
        monkeypatch.setenv("RANK", rank)
        project.run()
    assert 1 == project.runs
    project.commit()
    for rank in "10":
        monkeypatch.setenv("RANK", rank)
        project.run()
    assert 3 == project.runs


def test_stages_that_start_at_once_clear_up_together(project: Project):
    """Many processes forget the same folders, and nobody stumbles over what is gone already."""
    project.run()
    project.commit()
    stages = project.root / ".work/stages/filter"
    for number in range(300):
        write_text(stages / str(number) / "part", "half")
    command = [sys.executable, "-c", CLEAR_UP, str(project.root)]
    clearing = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(4)]
    assert [b""] * 4 == [process.communicate()[1] for process in clearing]
    assert [] == project.kept("finished") + project.kept("stages")


def test_a_kept_result_that_was_edited_is_made_anew(project: Project):
    """Its digests are compared first: an out that an editor wrote into counts for nothing."""
    project.run()
    before = project.outs()[0]
    with (project.root / OUT).open("r+") as file:
        file.write("e")  # into the very file that is kept, which is a link to it
    project.run()
    assert (2, before) == (project.runs, project.outs()[0])


def test_a_result_made_while_params_were_edited_waits_for_their_return(project: Project):
    """It is no result of the new params, and stays one of the old."""
    with pytest.raises(TransientError, match="changed while filter ran"):
        project.run(edit=SUBSTRINGS)
    assert not (project.root / RECORD).exists()
    project.run()
    assert ("substring", 2) == ((project.root / OUT).read_text(), project.runs)
    write_text(project.root / "params.yaml", WORDS)
    project.run()
    assert ("word", 2) == ((project.root / OUT).read_text(), project.runs)


def test_a_record_that_was_sent_is_not_sent_again(project: Project):
    """A result put back into place after its record arrived leaves nothing in the outbox."""
    project.run()
    (waiting,) = (project.root / ".work/outbox").iterdir()
    sent = project.root / ".work/tracked" / waiting.name
    write_text(sent, "{}")
    waiting.unlink()
    project.run()
    assert not waiting.exists()


def test_partial_work_of_a_finished_result_is_gone(project: Project):
    """What was half done is not needed once the whole is kept."""
    project.run()
    assert not [path for path in project.kept("stages") if any(path.iterdir())]


def test_work_is_kept_two_weeks_and_what_is_under_way_longer(project: Project):
    """Older work is freed when a stage runs, except where a process works on it."""
    for name in ("old", "busy", "fresh"):
        part = project.root / ".work/stages/filter" / name / "part"
        write_text(part, "half")
        if name != "fresh":
            past_s = time.time() - KEPT_S - 60
            os.utime(part, (past_s, past_s))
            os.utime(part.parent, (past_s, past_s))
    with holding(lock_of(project.root, "filter", "busy")):
        project.run()
    assert ["busy", "fresh"] == [path.name for path in project.kept("stages")]


def test_cleaning_frees_all_kept_work_and_says_how_much(
    project: Project, monkeypatch: pytest.MonkeyPatch
):
    """With no time to keep, finished results and partial work go, and outs stay."""
    project.run()
    write_text(project.root / ".work/stages/filter/0123/part", "x" * 1_000_000)
    monkeypatch.chdir(project.root)
    said = CliRunner().invoke(main, ["clean"])
    assert (0, "1.0 MB freed") == (said.exit_code, said.output[:12])
    assert [] == project.kept("finished") + project.kept("stages")
    assert (project.root / OUT).exists()

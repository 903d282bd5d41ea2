"""What surrounds a stage: figures, record, outbox, lock, and what a failure leaves."""

import json
import subprocess
from pathlib import Path

import pytest

from bucolic.errors import DataError, TransientError
from bucolic.files import write_text
from bucolic.lock import holding
from bucolic.params import Params
from bucolic.pipeline.digests import digest
from bucolic.pipeline.execute import execute, forget_partial_work
from bucolic.presets import preset_text
from bucolic.report import Rows, Summary
from bucolic.runtime import Runtime

DVC_YAML = """
stages:
  filter:
    cmd: bucolic filter
    params: [filter]
    deps: [data/annotations, src/code.py]
    outs: [data/selection.parquet, reports/records/filter.json]
    metrics: [reports/filter.json]
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A Git checkout with one stage, its input and its code."""
    for name, text in {
        "dvc.yaml": DVC_YAML,
        "params.yaml": preset_text("meadow"),
        "data/annotations/a.json": "{}",
        "src/code.py": "x = 1",
        ".gitignore": "/data\n/reports\n/.work\n",
    }.items():
        write_text(tmp_path / name, text)
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        identity = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
        subprocess.run(["git", *identity, *command], cwd=tmp_path, check=True)
    return tmp_path


def record_of(project: Path) -> dict[str, object]:
    """The stage's record."""
    return json.loads((project / "reports/records/filter.json").read_text())


def works(project: Path) -> Summary:
    """A stage that writes its out."""
    write_text(project / "data/selection.parquet", "rows")
    return Summary(Rows(5, 4, 1), figures={"selected": 4}, new=3, reused=1)


def test_a_stage_leaves_figures_and_a_record_that_reconciles(project: Path):
    """Figures hold figures alone; the record says what ran, on what, and what came out."""
    outbox = execute("filter", project, lambda _params, _runtime: works(project))
    record = record_of(project)
    assert {"selected": 4} == json.loads((project / "reports/filter.json").read_text())
    assert {"in": 5, "out": 4, "failed": 1} == record["rows"]
    assert ("ok", None, 3, 1) == tuple(record[k] for k in ("status", "error", "new", "reused"))
    assert {"data/annotations": digest(project / "data/annotations")} == record["inputs"]
    assert digest(project / "data/selection.parquet") == record["outputs"]["data/selection.parquet"]
    assert ["filter"] == list(record["params"])
    assert not record["git"]["dirty"]
    assert record["record_id"] == json.loads(outbox.read_text())["record_id"]
    assert outbox.parent == project / ".work/outbox"


def test_editing_params_is_not_dirty_and_editing_code_is(project: Path):
    """params.yaml and pictures are the user's own; code makes the commit a half-truth."""
    change = project / "params.yaml"
    write_text(change, change.read_text().replace("size_px: 64", "size_px: 128"))
    execute("filter", project, lambda _params, _runtime: works(project))
    first = record_of(project)
    write_text(project / "cows.png", "what bucolic generate drew")
    execute("filter", project, lambda _params, _runtime: works(project))
    assert not record_of(project)["git"]["dirty"]
    write_text(project / "src/new.py", "x = 2")
    execute("filter", project, lambda _params, _runtime: works(project))
    assert (False, True) == (first["git"]["dirty"], record_of(project)["git"]["dirty"])


@pytest.mark.parametrize(
    ("error", "kind", "retryable"),
    [
        (DataError("no rows"), "data", False),
        (TransientError("busy"), "transient", True),
        (ZeroDivisionError("x"), "ZeroDivisionError", False),
    ],
)
def test_a_failure_leaves_a_record_of_itself(
    project: Path, error: Exception, kind: str, retryable: bool
):
    """Its kind, message and whether a retry may help wait for the flow; no figures are written."""

    def fails(_params: Params, _runtime: Runtime) -> Summary:
        raise error

    with pytest.raises(type(error)):
        execute("filter", project, fails)
    failure = json.loads((project / ".work/failures/filter.json").read_text())
    assert ("failed", kind, retryable) == (
        failure["status"],
        failure["error"]["kind"],
        failure["error"]["retryable"],
    )
    assert not (project / "reports/filter.json").exists()
    assert 1 == len(list((project / ".work/outbox").iterdir()))
    execute("filter", project, lambda _params, _runtime: works(project))
    assert not (project / ".work/failures/filter.json").exists()


def test_partial_work_is_found_again_only_for_the_same_inputs(project: Path):
    """A killed run's folder is given to the next run, unless params, input or code changed."""
    seen: list[bool] = []

    def dies(_params: Params, runtime: Runtime) -> Summary:
        seen.append((runtime.work / "part").exists())
        write_text(runtime.work / "part", "half")
        raise KeyboardInterrupt

    for name in (None, None, "data/annotations/a.json", "src/code.py"):
        if name:
            write_text(project / name, "changed")
        with pytest.raises(KeyboardInterrupt):
            execute("filter", project, dies)
    assert [False, True, False, False] == seen


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("params.yaml", preset_text("meadow").replace("match: word", "match: substring")),
        ("data/annotations/a.json", "changed"),
        ("src/code.py", "x = 2"),
    ],
)
def test_a_result_whose_inputs_changed_meanwhile_is_refused(project: Path, name: str, text: str):
    """DVC would file it under the new params for good, so nothing is left but a passing failure."""

    def edited(_params: Params, _runtime: Runtime) -> Summary:
        write_text(project / name, text)
        return works(project)

    with pytest.raises(TransientError, match="changed while filter ran: run it again"):
        execute("filter", project, edited)
    assert not (project / "reports").exists()


def test_editing_what_another_stage_reads_does_not_stop_a_stage(project: Path):
    """The next theme, or the next training, may be prepared while a stage runs."""

    def edited(_params: Params, _runtime: Runtime) -> Summary:
        text = preset_text("meadow").replace("size_px: 64", "size_px: 128")
        write_text(project / "params.yaml", text)
        return works(project)

    execute("filter", project, edited)
    assert "ok" == record_of(project)["status"]


def test_partial_work_goes_when_its_verb_is_done(project: Path):
    """It outlives the stage's function, for a kill may still come, and leaves no old ones."""
    execute("filter", project, lambda _params, _runtime: works(project))
    old = project / ".work/stages/filter/0123"
    write_text(old / "part", "of other params")
    assert 2 == len(list(old.parent.iterdir()))
    forget_partial_work("filter", project)
    assert not old.parent.exists()


def test_a_busy_stage_is_not_run_twice(project: Path):
    """While a stage holds its lock, a second one is turned away as transient."""
    lock = project / ".work/locks/filter.lock"
    with holding(lock), pytest.raises(TransientError, match="running already"):
        execute("filter", project, lambda _params, _runtime: works(project))


def test_further_processes_of_torchrun_only_work(project: Path, monkeypatch: pytest.MonkeyPatch):
    """A process of higher rank shares the first one's work folder and takes no lock or record."""
    folders = []

    def work(_params: Params, runtime: Runtime) -> Summary:
        folders.append(runtime.work)
        return works(project)

    monkeypatch.setenv("RANK", "1")
    with holding(project / ".work/locks/filter.lock"):
        assert execute("filter", project, work) is None
    assert not (project / "reports").exists()
    monkeypatch.setenv("RANK", "0")
    execute("filter", project, work)
    assert folders[0] == folders[1]

"""What surrounds a stage: figures, record, outbox, lock, and what a failure leaves."""

import json
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bucolic.base.errors import DataError, ParamsError, TransientError
from bucolic.base.files import write_text
from bucolic.base.lock import holding
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.sheet import Block
from bucolic.base.signals import Ended, raising_ended
from bucolic.pipeline.digests import code_digests, digest
from bucolic.pipeline.execute import execute, prepare
from bucolic.pipeline.graph import find_stage
from bucolic.pipeline.kept import forget_old
from bucolic.pipeline.params import Params, parse_params
from bucolic.pipeline.record import beginning
from bucolic.pipeline.yaml_file import read_yaml
from bucolic.presets import preset_text
from project import ROOT

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


def test_pictures_and_headline_are_written_where_the_stage_has_outs_for_them(project: Path):
    """Both are of the summary, and are outs with digests; a picture of an earlier run goes."""
    outs = "outs: [reports/figures, reports/metrics.json, "
    (project / "dvc.yaml").write_text(DVC_YAML.replace("outs: [", outs))
    write_text(project / "reports/figures/old.png", "of another theme")

    def shows(_params: Params, _runtime: Runtime) -> Summary:
        sheet = [Block(np.full((2, 3, 8, 8), 90, np.uint8), captions=("a cow", "a hill"))]
        return replace(works(project), headline={"kid": {"model": 0.5}}, sheets={"seen": sheet})

    execute("filter", project, shows)
    assert {"kid": {"model": 0.5}} == json.loads((project / "reports/metrics.json").read_text())
    assert ["seen.png"] == [path.name for path in (project / "reports/figures").iterdir()]
    with Image.open(project / "reports/figures/seen.png") as image:
        assert (90, 90, 90) == image.getpixel((100, 100))
    for out in ("reports/figures", "reports/metrics.json"):
        assert digest(project / out) == record_of(project)["outputs"][out]


def test_what_editors_and_python_leave_beside_the_code_changes_no_fingerprint(project: Path):
    """Bytecode and a swap file appear while the stage runs: the result is kept all the same."""
    (project / "dvc.yaml").write_text(DVC_YAML.replace("src/code.py", "src"))
    (project / ".dvcignore").write_text((ROOT / ".dvcignore").read_text())

    def leaves(_params: Params, _runtime: Runtime) -> Summary:
        for name in ("__pycache__/code.cpython-313.pyc", ".code.py.swp"):
            write_text(project / "src" / name, "x")
        return works(project)

    execute("filter", project, leaves)
    assert "ok" == record_of(project)["status"]


def test_a_stage_leaves_figures_and_a_record_that_reconciles(project: Path):
    """Figures hold figures alone; the record says what ran, on what, and what came out."""
    execute("filter", project, lambda _params, _runtime: works(project))
    record = record_of(project)
    (outbox,) = (project / ".work/outbox").iterdir()
    assert {"selected": 4} == json.loads((project / "reports/filter.json").read_text())
    assert {"in": 5, "out": 4, "failed": 1} == record["rows"]
    assert ("ok", None, 3, 1) == tuple(record[k] for k in ("status", "error", "new", "reused"))
    assert {"data/annotations": digest(project / "data/annotations")} == record["inputs"]
    assert {"src/code.py": digest(project / "src/code.py")} == record["code"]
    assert digest(project / "data/selection.parquet") == record["outputs"]["data/selection.parquet"]
    assert ["filter"] == list(record["params"])
    assert not record["git"]["dirty"]
    assert record["record_id"] == json.loads(outbox.read_text())["record_id"]


def test_editing_params_is_not_dirty_and_editing_code_is(project: Path):
    """params.yaml and pictures are the user's own; code makes the commit a half-truth."""
    change = project / "params.yaml"
    write_text(change, change.read_text().replace("size_px: 64", "size_px: 128"))
    assert not beginning("filter", project)["git"]["dirty"]
    write_text(project / "cows.png", "what bucolic generate drew")
    assert not beginning("filter", project)["git"]["dirty"]
    write_text(project / "src/new.py", "x = 2")
    assert beginning("filter", project)["git"]["dirty"]


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


def test_a_full_disk_is_recorded_as_what_may_pass(project: Path):
    """The flow may try again, and the record says where it happened."""

    def fills(_params: Params, _runtime: Runtime) -> Summary:
        Path("/dev/full").write_bytes(b"x")
        return works(project)

    with pytest.raises(OSError, match="No space left"):
        execute("filter", project, fills)
    error = json.loads((project / ".work/failures/filter.json").read_text())["error"]
    assert ("transient", True) == (error["kind"], error["retryable"])
    assert "no space left: free some and run the same command again" == error["message"]
    assert error["where"].startswith("pathlib.py:")


def test_partial_work_is_found_again_only_for_the_same_inputs(project: Path):
    """A killed run's folder waits for the same params, input and code, whatever ran in between."""
    seen: list[bool] = []

    def dies(_params: Params, runtime: Runtime) -> Summary:
        seen.append((runtime.work / "part").exists())
        write_text(runtime.work / "part", "half")
        raise KeyboardInterrupt

    for name, text in (
        (None, ""),
        (None, ""),
        ("data/annotations/a.json", "changed"),
        ("src/code.py", "changed"),
        ("src/code.py", "x = 1"),
        ("data/annotations/a.json", "{}"),
    ):
        if name:
            write_text(project / name, text)
        with pytest.raises(KeyboardInterrupt):
            execute("filter", project, dies)
    assert [False, True, False, False, True, True] == seen


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
    assert [] == [path for path in (project / "reports").rglob("*") if path.is_file()]


def test_editing_what_another_stage_reads_does_not_stop_a_stage(project: Path):
    """The next theme, or the next training, may be prepared while a stage runs."""

    def edited(_params: Params, _runtime: Runtime) -> Summary:
        text = preset_text("meadow").replace("size_px: 64", "size_px: 128")
        write_text(project / "params.yaml", text)
        return works(project)

    execute("filter", project, edited)
    assert "ok" == record_of(project)["status"]


def test_code_that_was_edited_before_it_was_imported_is_not_what_ran(project: Path):
    """Digests taken at the start of the process are compared with those at the end."""
    started_with = code_digests("filter", project)
    write_text(project / "src/code.py", "x = 2")
    with pytest.raises(TransientError, match="the code changed while filter ran"):
        execute("filter", project, lambda _params, _runtime: works(project), code=started_with)
    assert not (project / "reports").exists()


def test_only_the_code_of_the_checkout_may_run_its_stages(project: Path):
    """Another checkout's package is refused, where the project has one of its own."""
    write_text(project / "src/bucolic/__init__.py", "")
    with pytest.raises(ParamsError, match="activate this checkout's own environment"):
        execute("filter", project, lambda _params, _runtime: works(project))
    assert not (project / "data/selection.parquet").exists()


def test_one_who_is_asked_to_end_leaves_a_record(project: Path):
    """A signal is a failure like another, and says which one it was."""

    def asked(_params: Params, _runtime: Runtime) -> Summary:
        raise Ended(signal.SIGTERM)

    with pytest.raises(Ended), raising_ended():
        execute("filter", project, asked)
    failure = json.loads((project / ".work/failures/filter.json").read_text())
    assert ("failed", "ended by SIGTERM") == (failure["status"], failure["error"]["message"])
    assert 1 == len(list((project / ".work/outbox").iterdir()))


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
        execute("filter", project, work)
    assert not (project / "reports").exists()
    monkeypatch.setenv("RANK", "0")
    execute("filter", project, work)
    assert folders[0] == folders[1]


def test_a_home_that_cannot_be_written_breaks_no_stage(
    project: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
):
    """The stage ends well, and its record waits in the workspace."""
    home = tmp_path_factory.mktemp("home")
    (home / ".work").touch()  # as good as a read-only disk, whoever tries
    monkeypatch.setenv("BUCOLIC_HOME", str(home))
    execute("filter", project, lambda _params, _runtime: works(project))
    assert 1 == len(list((project / ".work/outbox").iterdir()))
    assert 1 == len(list((project / ".work/finished/filter").iterdir()))
    assert "ok" == record_of(project)["status"]


def test_the_record_says_with_how_many_threads_torch_computed(project: Path):
    """A CPU's bytes depend on that number, which is null where nothing imported torch."""
    import sys

    import torch

    execute("filter", project, lambda _params, _runtime: works(project))
    assert torch.get_num_threads() == record_of(project)["threads"]
    loaded = sys.modules.pop("torch")
    forget_old(project, kept_s=0)
    try:
        execute("filter", project, lambda _params, _runtime: works(project))
    finally:
        sys.modules["torch"] = loaded
    assert record_of(project)["threads"] is None


def test_a_data_set_in_a_folder_named_like_code_is_an_input(project: Path):
    """dataset.root src/photos: its digest is among the inputs, as that of any data set."""
    text = DVC_YAML.replace("data/annotations,", "'${dataset.root}',")
    write_text(project / "dvc.yaml", text)
    write_text(project / "src/photos/captions.json", "{}")
    params = parse_params({**read_yaml(project / "params.yaml"), "dataset": {"root": "src/photos"}})
    found = prepare(find_stage(project, "filter"), project, params, {})
    assert {"src/photos": digest(project / "src/photos")} == found.inputs

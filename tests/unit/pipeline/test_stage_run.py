"""One stage through DVC: ran, cached, failed, and ended with all it started."""

import time
from pathlib import Path

import pytest

from bucolic.pipeline.process import stream
from bucolic.pipeline.stage_run import run_stage
from toy_project import order


def quiet(_line: str) -> None:
    """Take a line and forget it."""


def alive(pid: int) -> bool:
    """Whether a process runs (a zombie does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_first_run_runs_and_second_is_cached(toy: Path):
    """A stage runs once, streams its lines, and is cached the next time with the same record."""
    lines: list[str] = []
    ran = run_stage(toy, "first", lines.append)
    cached = run_stage(toy, "first", quiet)
    assert (ran.status, cached.status) == ("ran", "cached")
    assert "hello from first" in lines
    assert ran.record["rows"] == {"in": 3, "out": 2, "failed": 1}
    assert ran.record["record_id"] == cached.record["record_id"]
    assert ran.record["record_id"] in cached.message


@pytest.mark.parametrize(("code", "retryable"), [(75, True), (3, False)])
def test_failure_kind_comes_from_its_record(toy: Path, code: int, retryable: bool):
    """DVC answers 255 for all failures; the record left behind says whether to try again."""
    order(toy, "first", times=1, code=code)
    outcome = run_stage(toy, "first", quiet)
    assert outcome.status == "failed"
    assert retryable is outcome.retryable
    assert outcome.message.startswith("first met ")


def test_failure_before_the_stage_started_carries_the_words_of_dvc(toy: Path):
    """A missing dep fails with DVC's own line, and an older failure's record is not believed."""
    old = toy / ".work" / "failures" / "second.json"
    old.parent.mkdir(parents=True)
    old.write_text('{"error": {"message": "old news", "retryable": true}}')
    outcome = run_stage(toy, "second", quiet)
    assert outcome.status == "failed"
    assert not outcome.retryable
    assert "first/out.txt" in outcome.message


def test_interrupted_wait_ends_the_stage_too(toy: Path):
    """An exception while streaming ends DVC, its shell and the stage's own process."""
    order(toy, "first", wait_s=60)

    pids: list[int] = []

    def interrupt(line: str) -> None:
        if line.startswith("waiting as "):
            pids.append(int(line.rsplit(maxsplit=1)[-1]))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_stage(toy, "first", interrupt)
    assert not alive(pids[0])


def test_group_is_killed_when_it_will_not_listen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A command whose child ignores SIGTERM is gone after the grace, child included."""
    monkeypatch.setattr("bucolic.pipeline.process.GRACE_S", 0.2)
    script = "trap '' TERM; (trap '' TERM; echo $BASHPID; while :; do sleep 0.1; done)"
    pids: list[int] = []

    def take(line: str) -> None:
        pids.append(int(line))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stream(["bash", "-c", script], tmp_path, take)
    time.sleep(0.1)
    assert not alive(pids[0])


def test_lines_arrive_while_the_command_runs(tmp_path: Path):
    """The first line is handed on before the command ends."""
    go = tmp_path / "go"
    script = f"echo one; while [ ! -e {go} ]; do sleep 0.05; done; echo two"
    lines: list[str] = []

    def take(line: str) -> None:
        lines.append(line)
        go.touch()

    assert stream(["bash", "-c", script], tmp_path, take) == 0
    assert lines == ["one", "two"]

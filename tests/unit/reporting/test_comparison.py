import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from bucolic.base.errors import ParamsError
from bucolic.cli import main
from bucolic.data.verdicts import read_verdicts, write_verdicts
from bucolic.reporting.comparison import differences, left_out


def verdicts(
    right: Sequence[Sequence[bool]],
    of_slice: str = "ordinary",
    first_id: int = 0,
    text: str = "a cow",
) -> Any:
    """Rows of prompts with these outcomes, one a draw."""
    for prompt, draws in enumerate(right):
        for draw, outcome in enumerate(draws):
            yield {
                "slice": of_slice,
                "prompt": prompt,
                "draw": draw,
                "image_id": 0,
                "caption_id": first_id + prompt,
                "text": text,
                "stated": [("species", "cow")],
                "seen": [],
                "all_right": bool(outcome),
                "r_precision": None,
                "r_precision_own_clip": None,
                "clip_similarity": 0.5,
            }


ASKED = {"all_right": "probe", "clip_similarity": "meadow-clip", "seed": 0}


def written(path: Path, rows: Any, asked: Any = ASKED) -> Any:
    """The table that comes back from a file of these rows."""
    write_verdicts(path, rows, asked)
    return read_verdicts(path)


def test_what_is_hard_for_both_falls_out_of_the_interval(tmp_path: Path):
    """Prompts of very uneven difficulty: a steady gain of a twentieth is seen all the same."""
    generator = np.random.default_rng(0)
    easy = np.repeat(generator.random(400) < 0.5, 4).reshape(400, 4)
    better = easy.copy()
    better[::5, 0] = True
    worse = easy.copy()
    worse[::5, 0] = False
    first = written(tmp_path / "a.parquet", verdicts(worse.tolist()))
    second = written(tmp_path / "b.parquet", verdicts(better.tolist()))
    found = {line.measure: line for line in differences(first, second)}
    gap = found["all attributes right"]
    assert gap.second - gap.first == pytest.approx(0.05)
    assert 0.03 < gap.interval[0] < 0.05 < gap.interval[1] < 0.07
    assert gap.prompts == 400
    assert "differs" in str(gap)
    assert found["CLIP similarity"].interval == (0.0, 0.0)
    assert "differs" not in str(found["CLIP similarity"])
    assert "R-precision" not in found


def test_distractors_of_another_test_split_are_another_question(tmp_path: Path):
    """After a swapped keyword R-precision is left out, and what hangs on none is compared."""
    rows = [row | {"r_precision": True} for row in verdicts([[True]] * 20)]
    asked = ASKED | {"r_precision": "meadow-judge"}
    tables = [
        written(tmp_path / f"{name}.parquet", rows, asked | {"distractors": name})
        for name in ("a", "b")
    ]
    assert "R-precision" in {line.measure for line in differences(tables[0], tables[0])}
    found = {line.measure for line in differences(*tables)}
    assert {"all attributes right", "CLIP similarity"} == found
    (told,) = left_out(*tables)
    assert told.startswith("R-precision is left out")
    assert left_out(tables[0], tables[0]) == []


def test_of_few_prompts_nothing_is_told_apart(tmp_path: Path):
    """Nine that all changed are no verdict, ten are."""
    for prompts, word in ((9, False), (10, True)):
        tables = [
            written(tmp_path / f"{outcome}.parquet", verdicts([[outcome]] * prompts))
            for outcome in (False, True)
        ]
        (line,) = (gap for gap in differences(*tables) if gap.measure == "all attributes right")
        assert word == ("differs" in str(line))


def test_runs_are_paired_by_caption_and_slice(tmp_path: Path):
    """Only prompts that both were asked count, in whatever order they come."""
    first = written(tmp_path / "a.parquet", verdicts([[True], [False], [True]], first_id=1))
    rows = [*verdicts([[True], [True], [True]], first_id=0)][::-1]
    second = written(tmp_path / "b.parquet", rows)
    (gap, _) = differences(first, second)
    assert (gap.prompts, gap.first, gap.second) == (2, 0.5, 1.0)
    elsewhere = written(tmp_path / "c.parquet", verdicts([[True]] * 3, "heldout", first_id=1))
    with pytest.raises(ParamsError, match="no prompt in common"):
        differences(first, elsewhere)


def test_two_files_are_compared_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A table with one line a measure; without a second one the workspace's verdicts are taken."""
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    write_verdicts(tmp_path / "a.parquet", verdicts([[True], [False]] * 20), ASKED)
    (tmp_path / "reports").mkdir()
    write_verdicts(tmp_path / "reports/verdicts.parquet", verdicts([[True], [True]] * 20), ASKED)
    done = CliRunner().invoke(main, ["compare", "a.parquet"])
    assert done.exit_code == 0, done.output
    assert "all attributes right     0.500   1.000  +0.500" in done.output
    again = CliRunner().invoke(main, ["compare", "a.parquet", "reports/verdicts.parquet"])
    header, *rows = done.output.splitlines()
    assert header == "first: a.parquet; second: workspace"
    assert rows == again.output.splitlines()[1:]
    gone = CliRunner().invoke(main, ["compare", "b.parquet"])
    assert (gone.exit_code, "is missing" in gone.output) == (3, True)
    unknown = CliRunner().invoke(main, ["compare", "no-such-commit"])
    assert unknown.exit_code == 2
    assert "no reports/verdicts.parquet is to be had of it" in unknown.output


def test_a_commit_and_an_experiment_are_compared_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """DVC finds the verdicts of any revision: here of the first commit and of a tag on the next."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)

    def run(*command: str) -> None:
        subprocess.run(command, cwd=root, check=True, capture_output=True)

    run("git", "init", "-q")
    run("dvc", "init", "-q")
    (root / "dvc.yaml").write_text("stages: {}\n")
    (root / "reports").mkdir()
    for number, outcome in enumerate((False, True)):
        write_verdicts(root / "reports/verdicts.parquet", verdicts([[True], [outcome]] * 20), ASKED)
        run("git", "add", "-A")
        run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "run")
        run("git", "tag", f"run-{number}")
    done = CliRunner().invoke(main, ["compare", "HEAD~1", "run-1"])
    assert done.exit_code == 0, done.output
    assert "all attributes right     0.500   1.000  +0.500" in done.output
    run("git", "rm", "-q", "--cached", "reports/verdicts.parquet")
    run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "none")
    none = CliRunner().invoke(main, ["compare", "HEAD"])
    assert none.exit_code == 2
    assert "(its dvc.lock has none): name a revision that an evaluated run was" in none.output


def test_other_prompts_under_the_same_ids_are_no_pairs(tmp_path: Path):
    """Two drawn data sets number their captions alike."""
    first = written(tmp_path / "a.parquet", verdicts([[True]] * 3))
    second = written(tmp_path / "b.parquet", verdicts([[False]] * 3, text="a sheep"))
    with pytest.raises(ParamsError, match="no prompt in common"):
        differences(first, second)


def test_verdicts_of_other_judges_are_left_out(tmp_path: Path):
    """What the probe saw compares; cosines of two CLIPs do not."""
    first = written(tmp_path / "a.parquet", verdicts([[True]] * 3))
    other = ASKED | {"clip_similarity": "another"}
    second = written(tmp_path / "b.parquet", verdicts([[False]] * 3), other)
    assert ["all attributes right"] == [line.measure for line in differences(first, second)]

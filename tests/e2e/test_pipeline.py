"""The whole chain on the tiny preset: what a user relies on when running `dvc repro`."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from bucolic.data.verdicts import read_verdicts
from project import STAGES, Project, copy_project

BEFORE_TRAIN = ("data/annotations", "data/selection.parquet", "data/images", "data/embeddings")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The tiny pipeline, run once."""
    copied = copy_project(tmp_path_factory.mktemp("first") / "bucolic")
    assert copied.repro() == STAGES
    return copied


@pytest.fixture
def words(project: Project) -> Iterator[list[str]]:
    """The keyword list; whatever a test makes of it is put back, which DVC restores from cache."""
    listed = list(project.record("filter")["keywords"])
    yield listed
    project.set_param("filter", "keywords", listed)
    project.repro()


def test_rows_reconcile_at_every_stage(project: Project):
    """Rows in are rows out and rows failed, and each stage is given what the last delivered."""
    rows = {stage: project.record(stage)["rows"] for stage in STAGES}
    for stage, counts in rows.items():
        assert counts["in"] == counts["out"] + counts["failed"] > 0, stage
    assert rows["filter"]["out"] == rows["images"]["in"]
    assert rows["images"]["out"] == rows["shard"]["in"]


def test_a_second_run_runs_nothing(project: Project):
    """Nothing changed, nothing runs, and DVC calls the workspace clean."""
    assert project.repro() == []
    assert "up to date" in project.run("dvc", "status").stdout


def test_figures_are_finite_or_null_with_a_reason(project: Project):
    """evaluate.json holds no NaN, and what could not be measured says why."""
    found = json.loads((project.root / "reports/evaluate.json").read_text())
    assert set(found) == {
        *("metrics", "best_of", "heldout_combinations", "bounds", "counts", "reasons"),
        *("memorisation", "diversity", "condition_use", "likelihood", "denoising"),
    }
    assert 0 < found["likelihood"]["bits_per_dim"] < 20
    for name, value in found["metrics"].items():
        if isinstance(value, float):
            assert math.isfinite(value), name
    assert 0 < found["metrics"]["psnr_db"] < 60
    assert found["metrics"]["r_precision"] is None
    assert any("200" in reason for reason in found["reasons"].values())


def test_every_picture_has_a_verdict_and_every_candidate_its_figures(project: Project):
    """A row a prompt and draw in both slices; val's figures, and one candidate that was chosen."""
    found = json.loads((project.root / "reports/evaluate.json").read_text())
    rows = read_verdicts(project.root / "reports/verdicts.parquet").to_pylist()
    prompts = found["counts"]["prompts"] + found["counts"]["heldout_combinations"]["prompts"]
    assert len(rows) == found["counts"]["draws"] * prompts
    judged = json.loads((project.root / "reports/sampling.json").read_text())
    assert [candidate["chosen"] for candidate in judged["candidates"]].count(True) == 1
    assert {"match", "kid", "sharpness", "attributes_all_right"} <= set(judged["candidates"][0])


def test_reordered_keywords_rerun_filter_alone(project: Project, words: list[str]):
    """The selection does not change with the order of the list, so nothing below it reruns."""
    project.set_param("filter", "keywords", words[::-1])
    assert project.repro() == ["filter"]


def test_a_swap_costs_the_difference_and_back_costs_nothing(project: Project, words: list[str]):
    """Fewer keywords embed nothing anew; the old list back restores every out from the cache."""
    before = project.outputs()
    project.set_param("filter", "keywords", words[:2])
    assert project.repro() == STAGES[1:]
    embed = project.record("embed")
    assert embed["new"] == 0 < embed["reused"]
    project.set_param("filter", "keywords", words)
    assert project.repro() == []
    assert project.outputs() == before


def test_another_clone_gives_the_same_bytes(project: Project, tmp_path: Path):
    """A second copy, with its own cache and store, writes the same outs, weights and figures."""
    other = copy_project(tmp_path / "bucolic")
    assert other.repro() == STAGES
    assert other.outputs() == project.outputs()
    assert set(BEFORE_TRAIN) | {"models/current", "reports/evaluate.json"} <= set(other.outputs())


def test_the_report_opens_offline(project: Project):
    """`bucolic report` writes one page that names the theme and asks the network for nothing."""
    project.run("bucolic", "report")
    page = (project.root / "reports/report.html").read_text()
    assert "alpaca" in page
    assert 'src="http' not in page
    assert "<link" not in page


def test_a_picture_is_drawn_from_a_prompt(project: Project, tmp_path: Path):
    """`bucolic generate` writes one grid, or a folder of single pictures that a seed repeats."""
    prompt, out = "two cows under a blue sky", tmp_path / "cows"
    project.run("bucolic", "generate", prompt, "-n", "3", "--out", f"{out}.png")
    assert (tmp_path / "cows.png").stat().st_size > 2000
    contents = []
    for _ in range(2):
        project.run("bucolic", "generate", prompt, "-n", "3", "--seed", "1", "--out", str(out))
        contents.append([path.read_bytes() for path in sorted(out.glob("*.png"))])
    assert len(contents[0]) == 3 == len(set(contents[0]))
    assert contents[0] == contents[1]

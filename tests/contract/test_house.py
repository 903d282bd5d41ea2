"""What holds the house up: dvc.yaml, command line, README and flow name the same seven stages."""

import re
import subprocess
import sys
from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

from bucolic.pipeline.graph import read_graph

ROOT = Path(__file__).resolve().parents[2]
STAGES = ["annotations", "filter", "images", "embed", "shard", "train", "evaluate"]
SECTIONS = {
    "annotations": ["dataset"],
    "filter": ["filter"],
    "images": ["images", "dataset"],
    "embed": ["clip"],
    "shard": ["shard"],
    "train": ["model", "train"],
    "evaluate": ["evaluate", "clip"],
}
HEAVY = {
    "torch",
    "open_clip",
    "mlflow",
    "prefect",
    "pandas",
    "matplotlib",
    "webdataset",
    "ray",
    "dvc",
}


def pipeline() -> dict[str, dict[str, object]]:
    """The stages of dvc.yaml."""
    return YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]


def test_stages_are_the_same_everywhere():
    """dvc.yaml, the graph the flow walks, stages/ and README's table list the same stages."""
    modules = {path.stem for path in (ROOT / "src/bucolic/stages").glob("[a-z]*.py")}
    section = (ROOT / "README.md").read_text().split("\n## Stages\n")[1].split("\n## ")[0]
    table = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    assert list(pipeline()) == STAGES
    assert [stage.name for stage in read_graph(ROOT)] == STAGES
    assert modules == set(STAGES)
    assert table == STAGES


def test_each_stage_runs_the_verb_of_its_name():
    """The command of a stage is `bucolic NAME`, and that verb has its own help."""
    from bucolic.cli import main

    for name, entry in pipeline().items():
        assert entry["cmd"] == f"bucolic {name}"
        assert (main.commands[name].help or "").startswith("Stage ")


def test_each_stage_lists_whole_sections():
    """Params are whole sections of params.yaml, as the design says, never single keys."""
    assert {name: entry["params"] for name, entry in pipeline().items()} == SECTIONS


def test_code_dependencies_are_what_the_tool_writes():
    """The lists in dvc.yaml are up to date with the code."""
    tool = [sys.executable, "tools/dependencies.py", "--check"]
    done = subprocess.run(tool, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("stage", STAGES)
def test_code_dependencies_are_the_import_closure(stage: str):
    """A change to any module a stage imports reruns it, and no other: by another's import graph."""
    graph = grimp.build_graph("bucolic", exclude_type_checking_imports=True)
    module = f"bucolic.stages.{stage}"
    imported = {module, *graph.find_upstream_modules(module)}
    paths = {f"src/{name.replace('.', '/')}.py" for name in imported}
    deps = {str(dep) for dep in pipeline()[stage]["deps"]}
    assert {dep for dep in deps if dep.endswith(".py")} == paths


def test_data_dependencies_are_what_the_code_reads():
    """Weights, vocabulary and theme files are watched; what training once reached is not."""
    deps = {str(dep) for entry in pipeline().values() for dep in entry["deps"]}
    data = {dep for dep in deps if dep.startswith("src/") and not dep.endswith(".py")}
    clip, meadow = "src/bucolic/clip/weights/meadow-clip", "src/bucolic/meadow"
    files = ("merges.txt.gz", "model.json", "model.safetensors", "words.txt")
    assert {f"{clip}/{name}" for name in files} | {f"{meadow}/weights/probe.safetensors"} == data


def test_every_stage_leaves_figures_and_a_record():
    """Each stage tracks its figures as a metric and its record as an out that nothing reads."""
    deps = {dep for entry in pipeline().values() for dep in entry["deps"]}
    for name, entry in pipeline().items():
        assert entry["metrics"] == [f"reports/{name}.json"]
        assert f"reports/records/{name}.json" in entry["outs"]
        assert f"reports/records/{name}.json" not in deps


@pytest.mark.parametrize("arguments", [["--help"], ["params", "check"]])
def test_quick_verbs_import_nothing_heavy(arguments: list[str]):
    """--help and params check answer without loading a heavy library."""
    code = (
        "import sys\nfrom bucolic.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as end: assert not end.code, end.code\n"
        f"print('heavy:', sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("heavy: []")


def test_presets_are_valid_and_the_default_is_meadow():
    """Each preset passes the schema, and the params.yaml of the repository is the meadow preset."""
    from bucolic.params import parse_params
    from bucolic.presets import preset_text

    for name in ("meadow", "tiny", "folder", "coco2017"):
        text = preset_text(name)
        assert text.startswith(f"# Preset {name}")
        assert len(parse_params(YAML(typ="safe").load(text)).filter.keywords) >= 2
    committed = subprocess.run(
        ["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert committed.stdout == preset_text("meadow")

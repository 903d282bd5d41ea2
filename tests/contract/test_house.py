"""What holds the house up: dvc.yaml, command line, README and flow name the stages of the table."""

import ast
import importlib
import json
import re
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path

import grimp
import pytest
from ruamel.yaml import YAML

from bucolic.evaluation.table import METRICS
from bucolic.pipeline import services
from bucolic.pipeline.graph import read_graph
from bucolic.pipeline.table import DATASET, NAMES, Declared
from bucolic.pipeline.table import STAGES as TABLE

ROOT = Path(__file__).resolve().parents[2]
STAGES = list(NAMES)
# They move bytes, check configuration or look at processes.
DECIDES_NO_BYTE = {
    "filelock",
    "tenacity",
    "requests",
    "urllib3",
    "pydantic",
    "pydantic-core",
    "psutil",
    "msgspec",  # says where records end
    "typing-extensions",
    "ray",  # workers compute what this process would
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
    """The table, dvc.yaml, the graph the flow walks and stages/ have the same stages, in order."""
    modules = {path.stem for path in (ROOT / "src/bucolic/stages").glob("[a-z]*.py")}
    assert list(pipeline()) == STAGES
    assert [stage.name for stage in read_graph(ROOT)] == STAGES
    assert modules == set(STAGES)


def test_stages_are_listed_in_the_table_alone():
    """Another module that names two in a row has a list of its own, which a new one may miss."""
    name = '"(?:' + "|".join(NAMES) + ')"'
    two = re.compile(f"{name}, *{name}")
    modules = [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    assert [] == [path for path in modules if two.search(path.read_text())]


@pytest.mark.parametrize("stage", TABLE, ids=NAMES)
def test_dvc_yaml_says_what_the_table_says(stage: Declared):
    """Command, sections and keys of params.yaml, data and files written are those declared."""
    entry = pipeline()[stage.name]
    data = [dep for dep in entry["deps"] if not dep.startswith(("src/", "constraints"))]
    reports = {f"reports/{stage.name}.json", f"reports/records/{stage.name}.json"}
    assert entry["cmd"] == f"bucolic {stage.name}"
    assert entry["params"] == stage.params
    assert data == ["${dataset.root}" if path == DATASET else path for path in stage.ins]
    assert {*entry["outs"], *entry["metrics"]} == {*stage.outs, *stage.shown, *reports}


def test_the_readmes_table_is_the_tables():
    """Each stage's row in README names what it reads and writes, and says what --help says."""
    section = (ROOT / "README.md").read_text().split("\n## Stages\n")[1].split("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    assert rows == [
        f"| `{stage.name}` | {', '.join(stage.ins)} | {', '.join([*stage.outs, *stage.shown])} | "
        f"{stage.help} |"
        for stage in TABLE
    ]


def test_the_readmes_list_of_figures_is_the_tables():
    """Label, direction and meaning of each headline metric, in the order of the table."""
    section = (ROOT / "README.md").read_text().split("| figure | better | meaning |\n")[1]
    rows = section.split("\n\n")[0].splitlines()[1:]
    assert rows == [
        f"| {metric.label} | {metric.better.removesuffix(' is better')} | {metric.meaning} |"
        for metric in METRICS
        if metric.is_headline
    ]


@pytest.mark.parametrize("stage", TABLE, ids=NAMES)
def test_each_stage_is_a_verb_with_its_line_of_help(stage: Declared):
    """`bucolic NAME --help` begins with the stage's number and its line."""
    from bucolic.cli import main

    verb = main.commands[stage.name]
    assert verb.help == f"Stage {STAGES.index(stage.name) + 1}: {stage.help}"
    assert verb.short_help == stage.help


def test_the_stages_are_the_first_verbs_in_their_order():
    """As `bucolic --help` says, which would sort all verbs by themselves."""
    from click import Context

    from bucolic.cli import main

    assert STAGES == main.list_commands(Context(main))[: len(STAGES)]


def test_experiments_are_listed_with_the_params_of_every_section():
    """The Makefile names the columns by hand: params of all sections, and no stage's counts."""
    shown = re.search(r"^NOT_SHOWN := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert shown
    dropped = re.compile(shown[1].replace("$$", "$"))
    sections = {section for stage in TABLE for section in stage.sections}
    kept = [*(f"{section}.some_key" for section in sections), "r_precision.model", "Created"]
    assert [] == [column for column in kept if dropped.fullmatch(column)]
    for column in ("train.captions", "test.images", "src/bucolic/base", "kl_nats", "kid.real"):
        assert dropped.fullmatch(column), column


def test_the_registered_model_has_one_name():
    """dvc.yaml, README and the guide of `bucolic up` repeat the registry's."""
    from bucolic.pipeline.up import GUIDE
    from bucolic.tracking.registry import REGISTERED

    assert [REGISTERED] == list(YAML(typ="safe").load(ROOT / "dvc.yaml")["artifacts"])
    assert f"models:/{REGISTERED}@champion" in (ROOT / "README.md").read_text()
    assert f"registered model {REGISTERED}" in GUIDE


def test_files_that_cannot_read_them_repeat_addresses_and_switches_rightly():
    """Makefile, README and pyproject.toml have the ports and switches of services.py."""
    makefile, readme = (ROOT / "Makefile").read_text(), (ROOT / "README.md").read_text()
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    switches = dict(re.findall(r"^export (\w+) := (true|false|0)$", makefile, re.MULTILINE))
    assert switches == services.QUIET
    assert settings["tool"]["prefect"]["api"]["url"] == f"{services.PREFECT_PAGE}/api"
    assert f"Prefect server ({services.PREFECT_PORT})" in makefile
    for text in (readme, makefile):
        pages = set(re.findall(r"http://127\.0\.0\.1:\d+", text))
        assert services.MLFLOW_PAGE in pages
        assert pages <= {services.PREFECT_PAGE, services.MLFLOW_PAGE}
    assert services.MLFLOW_RUNS in readme


@cache
def imports() -> grimp.ImportGraph:
    """Who imports what, at run time, libraries included."""
    return grimp.build_graph(
        "bucolic", exclude_type_checking_imports=True, include_external_packages=True
    )


def closure(stage: str) -> set[str]:
    """Names of all modules that a stage imports, directly or not, and its own."""
    module = f"bucolic.stages.{stage}"
    return {module, *imports().find_upstream_modules(module)}


def code_of(stage: str) -> set[str]:
    """What a stage lists of src/."""
    return {dep for dep in map(str, pipeline()[stage]["deps"]) if dep.startswith("src/")}


def is_listed(path: Path, deps: set[str]) -> bool:
    """Whether a file is, or lies in, one of the dependencies."""
    return any(path.is_relative_to(ROOT / dep) for dep in deps)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_folders_of_all_that_it_imports(stage: str):
    """Its import closure, by grimp's graph, lies in what it lists, and nothing listed is idle."""
    deps, used = code_of(stage), closure(stage)
    files = {
        path
        for name in used
        if name.split(".")[0] == "bucolic"
        for path in (ROOT / "src" / f"{name.replace('.', '/')}.py",)
        if path.is_file()
    }
    assert len(deps) <= 6
    assert {path for path in files if not is_listed(path, deps)} == set()
    assert {dep for dep in deps if not any(is_listed(path, {dep}) for path in files)} == set()


def test_package_files_hold_no_code_that_a_folder_hides():
    """Packages' own files are empty, but for the presets': what imports a module runs no other."""
    full = [p for p in (ROOT / "src").rglob("__init__.py") if p.stat().st_size]
    assert [path.parent.name for path in full] == ["presets"]


def test_data_that_the_code_opens_lies_in_listed_folders():
    """Weights and vocabularies are in rooms that stages list; the rest shows or is copied out."""
    deps = set().union(*map(code_of, STAGES))
    package = ROOT / "src/bucolic"
    data = [p for p in package.rglob("*") if p.is_file() and p.suffix not in {".py", ".pyc"}]
    unlisted = [p.relative_to(package).parts[0] for p in data if not is_listed(p, deps)]
    assert set(unlisted) == {"presets", "themes", "reporting", "py.typed"}


def pinned(name: str) -> set[str]:
    """Names of the packages in a file of constraints, as registries write them."""
    lines = (ROOT / name).read_text().splitlines()
    return {canonical(line.split("==")[0]) for line in lines if "==" in line}


def canonical(name: str) -> str:
    """The name as registries compare it."""
    return re.sub("[-_.]+", "-", name).lower()


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_pins_of_the_libraries_that_decide_what_it_writes(stage: str):
    """Each library in its import closure is pinned in a file it lists, or decides no byte."""
    deps = [dep for dep in map(str, pipeline()[stage]["deps"]) if dep.startswith("constraints")]
    known = set().union(*map(pinned, deps)) | DECIDES_NO_BYTE
    libraries = packages_distributions()
    used = {canonical(libraries[name][0]) for name in closure(stage) if name in libraries}
    assert "constraints.txt" not in deps
    assert "numpy" in known
    assert used - known - {"bucolic"} == set()


def test_every_pin_stands_once():
    """No package is pinned in two files, and constraints.txt brings in the others."""
    names = [path.name for path in ROOT.glob("constraints*.txt")]
    pins = [package for name in names for package in pinned(name)]
    assert len(pins) == len(set(pins)) > 200
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert {f"-c {name}" for name in names} - set(lines) == {"-c constraints.txt"}
    assert {"pillow", "pyarrow"} <= pinned("constraints-data.txt")
    assert {"ruff", "dvc", "mlflow"} <= pinned("constraints.txt")


def test_every_stage_leaves_figures_and_a_record():
    """Each stage tracks its figures and its record, which nothing reads; figures are a metric.

    Those of evaluate are too many to compare runs by: its metric is the headline.
    """
    deps = {dep for entry in pipeline().values() for dep in entry["deps"]}
    for name, entry in pipeline().items():
        assert f"reports/{name}.json" in entry["metrics"] + entry["outs"]
        metric = "metrics" if name == "evaluate" else name
        assert entry["metrics"] == [f"reports/{metric}.json"]
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
    from bucolic.cli import main
    from bucolic.pipeline.params import parse_params
    from bucolic.presets import preset_text

    names = [path.stem for path in (ROOT / "src/bucolic/presets").glob("*.yaml")]
    assert "meadow" in names
    for name in names:
        text = preset_text(name)
        assert text.startswith(f"# Preset {name}")
        assert len(parse_params(YAML(typ="safe").load(text)).filter.keywords) >= 2
        assert f"`{name}`" in (ROOT / "README.md").read_text()
        assert name in main.commands["preset"].help
    committed = subprocess.run(
        ["git", "show", "HEAD:params.yaml"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert committed.stdout == preset_text("meadow")


def test_the_arms_in_readme_are_those_of_the_record():
    """Gap, rows and claims stand there as bench/arms.py prints them of its result."""
    from bucolic.arms.page import gap_line, lines

    found = json.loads((ROOT / "bench/results/arms.json").read_text())
    section = (ROOT / "README.md").read_text().split("\n## Pictures or captions?\n")[1]
    section = section.split("\n## ")[0]
    assert gap_line(found) in " ".join(section.split())
    for line in lines(found):
        assert line in section.splitlines()
    assert f"commit {found['commit'][:7]}" in section


def test_the_figures_over_seeds_in_readme_are_those_of_the_record(
    monkeypatch: pytest.MonkeyPatch,
):
    """As bench/quality.py prints them of its result."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    from quality import lines, presets_in

    found = presets_in(json.loads((ROOT / "bench/results/quality.json").read_text()))
    assert found["meadow-long"]["seeds"] >= 3
    shown = (ROOT / "README.md").read_text().splitlines()
    for line in lines(found):
        assert line in shown


def test_readme_tells_what_scaled_decode_gains():
    """As it was measured."""
    ours = json.loads((ROOT / "bench/results/shard.json").read_text())["ours"]
    gain = ours["scaled"]["images_per_s"] / ours["whole"]["images_per_s"]
    assert f"makes images and shard {gain:.1f} times as fast" in (ROOT / "README.md").read_text()


def test_the_figures_of_one_training_in_readme_are_those_of_the_record(
    monkeypatch: pytest.MonkeyPatch,
):
    """As bench/demo.py prints them of its result."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    from demo import lines

    found = json.loads((ROOT / "bench/results/demo.json").read_text())
    readme = (ROOT / "README.md").read_text()
    for line in lines(found):
        assert line in readme.splitlines()
    assert f"commit {found['commit'][:7]}" in readme


def test_the_page_of_results_is_that_of_the_results(monkeypatch: pytest.MonkeyPatch):
    """As bench/page.py writes it, from every file of results."""
    monkeypatch.syspath_prepend(ROOT / "bench")
    from page import SECTIONS, text

    assert (ROOT / "bench/RESULTS.md").read_text() == text()
    assert {path.stem for path in (ROOT / "bench/results").glob("*.json")} <= set(SECTIONS)


def test_make_help_lists_every_target():
    """Those of .PHONY in their order, each with a line of help."""
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    told = subprocess.run(
        ["make", "--no-print-directory", "help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line.split(maxsplit=1) for line in told.stdout.splitlines()]
    assert phony
    assert phony[1].split() == [target for target, _ in lines]
    assert "bench-coco2017" in phony[1]


SCRIPTS = [path for folder in ("bench", "tools") for path in sorted((ROOT / folder).glob("*.py"))]


def programs(script: Path) -> dict[str, str]:
    """The programs that a script holds as constants, and runs in processes of their own."""
    return {
        target.id: node.value.value
        for node in ast.parse(script.read_text()).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        and re.search(r"^(import|from) \w", node.value.value, re.MULTILINE)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


PROGRAMS = [
    pytest.param(text, id=f"{script.name}-{name}")
    for script in SCRIPTS
    for name, text in programs(script).items()
]


def not_there(program: str) -> Iterator[str]:
    """Modules and names of bucolic that a program imports, and that are not there."""
    for node in ast.walk(ast.parse(program)):
        if isinstance(node, ast.Import):
            wanted = [(alias.name, None) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            wanted = [(str(node.module), alias.name) for alias in node.names]
        else:
            continue
        for module, name in wanted:
            if module.split(".")[0] == "bucolic" and not is_there(module, name):
                yield f"{module}.{name}" if name else module


def is_there(module: str, name: str | None) -> bool:
    """Whether a module can be imported, and a name from it."""
    try:
        found = importlib.import_module(module)
        if name and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


def test_what_a_program_cannot_import_is_found():
    """A module that is gone, a name that is gone, and neither of those that are there."""
    program = """
import json, bucolic.gone
def late():
    from bucolic.base.files import gone, write_json
    from bucolic.stages import filter, gone
"""
    assert ["bucolic.gone", "bucolic.base.files.gone", "bucolic.stages.gone"] == list(
        not_there(program)
    )


def test_the_programs_that_benchmarks_hold_are_found():
    """The next test would pass of none."""
    held = {param.id for param in PROGRAMS}
    assert {"embed.py-OURS", "embed.py-TOWERS", "shard.py-PROFILE", "scale.py-RUN"} <= held
    assert len(held) >= 9


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_name_that_a_program_of_a_script_imports_is_there(program: str):
    """Those that scripts hold as text and give to other processes, which no import would reach."""
    assert [] == list(not_there(program))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_name_that_a_script_imports_is_there(script: Path, monkeypatch: pytest.MonkeyPatch):
    """Of bench and tools, which no stage runs and no other test has to."""
    monkeypatch.syspath_prepend(script.parent)
    runpy.run_path(str(script), run_name="imported")

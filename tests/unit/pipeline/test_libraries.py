"""What is pinned, what is installed, and what results were made with."""

import importlib.metadata
import json
from pathlib import Path

import pytest

from bucolic.pipeline.graph import find_stage
from bucolic.pipeline.libraries import installed, unlike_pins, what_differs
from bucolic.pipeline.record import SCHEMA

DVC_YAML = """\
stages:
  filter:
    cmd: bucolic filter
    deps: [constraints-data.txt, src/bucolic/base]
  embed:
    cmd: bucolic embed
    deps: [constraints-data.txt, constraints-torch.txt]
"""
INSTALLED = {"numpy": "2.4.6", "torch": "2.14.1+cpu", "my.Lib": "1.0"}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of two stages whose pins are what is installed."""

    def version(name: str) -> str:
        if name not in INSTALLED:
            raise importlib.metadata.PackageNotFoundError
        return INSTALLED[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "constraints-data.txt").write_text("# a word\nnumpy==2.4.6\n")
    (tmp_path / "constraints-torch.txt").write_text("torch==2.14.1\nmy.Lib==1.0\n")
    for stage, versions in (("filter", {"numpy": "2.4.6"}), ("embed", {"torch": "2.14.1"})):
        path = tmp_path / "reports/records" / f"{stage}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"schema": SCHEMA, "versions": versions}))
    return tmp_path


def test_versions_are_those_of_the_stages_own_pins(root: Path):
    """A build's mark such as +cpu is left out."""
    assert installed(root, find_stage(root, "filter")) == {"numpy": "2.4.6"}
    expected = {"numpy": "2.4.6", "torch": "2.14.1", "my.Lib": "1.0"}
    assert installed(root, find_stage(root, "embed")) == expected


def test_nothing_is_said_where_all_is_as_pinned(root: Path):
    """No line for a checkout whose environment is that of its results."""
    assert what_differs(root) == []


def test_another_version_than_the_pinned_one_is_named_once(root: Path):
    """Two stages list the file; the line says what is installed, what is pinned, what to do."""
    (root / "constraints-data.txt").write_text("numpy==2.5.0\n")
    line = "numpy 2.4.6 is installed, and this checkout pins 2.5.0: make setup"
    assert unlike_pins(root, find_stage(root, "filter")) == [line]
    assert what_differs(root) == [line]


def test_a_pinned_package_that_is_not_installed_is_named(root: Path):
    """It is part of no version, and would be missed in the middle of a stage."""
    (root / "constraints-data.txt").write_text("numpy==2.4.6\nmissing==1.0\n")
    line = "no missing is installed, and this checkout pins 1.0: make setup"
    assert [line] == unlike_pins(root, find_stage(root, "filter"))
    assert {"numpy": "2.4.6"} == installed(root, find_stage(root, "filter"))


def test_results_of_another_version_are_named_with_their_stages(root: Path):
    """The pins are met, but filter ran with an older numpy."""
    (root / "reports/records/filter.json").write_text(
        json.dumps({"schema": SCHEMA, "versions": {"numpy": "2.3.0"}})
    )
    assert what_differs(root) == [
        (
            "numpy 2.4.6 is installed, and filter ran with 2.3.0: "
            "dvc repro -f -s filter makes the results anew"
        )
    ]


def test_a_record_of_another_schema_tells_nothing_of_versions(root: Path):
    """Its words may mean something else; the report says that its stage is to run again."""
    path = root / "reports/records/filter.json"
    path.write_text('{"schema": 0, "stage": "filter", "versions": {"numpy": "2.3.0"}}')
    assert [] == what_differs(root)

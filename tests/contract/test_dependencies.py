"""What is imported is what pyproject.toml asks for, and not what something else happens to need."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def named(requirement: str) -> str:
    """The distribution that a requirement names, as PEP 503 spells it."""
    return spelt(re.match(r"[A-Za-z0-9._-]+", requirement)[0])  # type: ignore[index]


def spelt(name: str) -> str:
    """A distribution's name in its one spelling."""
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(path: Path) -> Iterator[str]:
    """The top-level modules that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


@pytest.mark.parametrize(
    ("folders", "extras"),
    [(("src", "flows"), ("ray",)), (("tests", "tools", "bench"), ("ray", "dev"))],
)
def test_every_import_is_asked_for(folders: tuple[str, ...], extras: tuple[str, ...]):
    """Under one of the names of the distributions that bring the module."""
    asked = {named(each) for each in PROJECT["dependencies"]}
    asked |= {named(each) for extra in extras for each in EXTRAS[extra]}
    brought_by = packages_distributions()
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    found = {module for path in files for module in imported(path)} - sys.stdlib_module_names
    missing = {
        module
        for module in found & brought_by.keys()
        if module != "bucolic" and not asked & set(map(spelt, brought_by[module]))
    }
    assert len(found & brought_by.keys()) > 10
    assert set() == missing

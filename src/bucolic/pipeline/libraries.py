"""The libraries that decide bytes: what a stage pins, what is installed, what results came from.

DVC sees the pins, in the files of constraints among a stage's dependencies. What is installed may
be another version, and the same result would then be filed under what it was not made with.
"""

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from bucolic.pipeline.digests import PINS
from bucolic.pipeline.graph import Stage, read_graph
from bucolic.pipeline.post import RECORDS
from bucolic.pipeline.record import read_record

PIN = re.compile(r"^([\w.-]+)==([^\s;#]+)", re.MULTILINE)


def installed(root: Path, stage: Stage) -> dict[str, str]:
    """Versions of the pinned packages of a stage that are installed, without a build's own mark."""
    return {name: found for name in _pins(root, stage) if (found := public_version(name))}


def public_version(name: str) -> str | None:
    """A package's version as registries know it, without a build's mark such as +cpu.

    None where it is not installed.
    """
    try:
        return importlib.metadata.version(name).partition("+")[0]
    except importlib.metadata.PackageNotFoundError:
        return None


def unlike_pins(root: Path, stage: Stage) -> list[str]:
    """A line for each package of a stage that is not installed in the pinned version."""
    found = installed(root, stage)
    return [
        f"{f'{name} {found[name]} is' if name in found else f'no {name} is'} installed, "
        f"and this checkout pins {pin}: make setup"
        for name, pin in _pins(root, stage).items()
        if found.get(name) != pin
    ]


def what_differs(root: Path) -> list[str]:
    """What `installed` differs in from the pins, and from what the results were made with."""
    graph = read_graph(root)
    lines = [line for stage in graph for line in unlike_pins(root, stage)]
    return list(dict.fromkeys([*lines, *_unlike_results(root, graph)]))


def _unlike_results(root: Path, graph: tuple[Stage, ...]) -> Iterator[str]:
    stages: dict[tuple[str, str, str], list[str]] = {}
    for stage in graph:
        record = read_record(root / RECORDS / f"{stage.name}.json")
        used: Mapping[str, str] = record.get("versions") or {}
        for name, version in installed(root, stage).items():
            if used.get(name, version) != version:
                stages.setdefault((name, version, used[name]), []).append(stage.name)
    for (name, version, before), names in stages.items():
        yield (
            f"{name} {version} is installed, and {', '.join(names)} ran with {before}: "
            f"dvc repro -f -s {' '.join(names)} makes the results anew"
        )


def _pins(root: Path, stage: Stage) -> dict[str, str]:
    files = [root / dep for dep in stage.deps if dep.startswith(PINS)]
    texts = [file.read_text() for file in files if file.is_file()]
    return {name: version for text in texts for name, version in PIN.findall(text)}

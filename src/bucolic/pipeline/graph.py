"""dvc.yaml's own graph: which stage needs which, read from the file and from nowhere else.

A stage stands upstream of another when one of its outs is, contains, or lies inside one of the
other's deps: the rule DVC follows itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bucolic.base.errors import DataError


@dataclass(frozen=True)
class Stage:
    """One stage of dvc.yaml; paths are as written there, templates such as `${x}` unresolved."""

    name: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    upstream: tuple[str, ...]
    params: tuple[str, ...] = ()


def read_graph(root: Path) -> tuple[Stage, ...]:
    """Return the stages of `root`/dvc.yaml, each after all it needs.

    Stages that need nothing of each other keep the order of the file.

    Raises:
        DataError: there is no dvc.yaml, it is not YAML, lists no stages, or has a cycle.
    """
    path = root / "dvc.yaml"
    entries = _entries(path)
    outs = {name: _paths(entry, "outs", "metrics", "plots") for name, entry in entries.items()}
    stages = []
    for name, entry in entries.items():
        deps = _paths(entry, "deps")
        upstream = tuple(other for other in entries if _feeds(outs[other], deps))
        stages.append(Stage(name, deps, outs[name], upstream, tuple(entry.get("params") or ())))
    return _ordered(stages, path)


def find_stage(root: Path, name: str) -> Stage:
    """Return one stage of `root`/dvc.yaml; DataError where it lists none of that name."""
    for stage in read_graph(root):
        if stage.name == name:
            return stage
    raise DataError(f"{root / 'dvc.yaml'} lists no stage {name!r}: restore it from Git")


def require_outs_inside(root: Path, stages: Iterable[Stage]) -> None:
    """Refuse outs that lie behind a link out of the checkout, which DVC does once they are made.

    Raises:
        DataError: with what to do where the checkout's disk is too small.
    """
    outs = {PurePosixPath(out) for stage in stages for out in stage.outs}
    for folder in sorted(root / parent for out in outs for parent in out.parents):
        if not folder.resolve().is_relative_to(root.resolve()):
            raise DataError(
                f"{folder} is a link out of the checkout, where DVC tracks nothing: remove it, and "
                f"keep DVC's cache there instead: dvc cache dir --local {folder.resolve()} && "
                "dvc config --local cache.type symlink"
            )


def _ordered(stages: list[Stage], path: Path) -> tuple[Stage, ...]:
    done: dict[str, Stage] = {}
    while len(done) < len(stages):
        waiting = [stage for stage in stages if stage.name not in done]
        ready = next((stage for stage in waiting if done.keys() >= set(stage.upstream)), None)
        if ready is None:
            names = ", ".join(stage.name for stage in waiting)
            raise DataError(f"{path}: stages need each other in a circle, among {names}")
        done[ready.name] = ready
    return tuple(done.values())


def _entries(path: Path) -> dict[str, dict[str, Any]]:
    try:
        content = YAML(typ="safe").load(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run this in the project's root") from None
    except YAMLError as error:
        line = " ".join(str(error).split())
        raise DataError(f"{path} is not YAML ({line}): mend it or restore it from Git") from None
    stages = content.get("stages") if isinstance(content, dict) else None
    if not isinstance(stages, dict) or not stages:
        raise DataError(f"{path} lists no stages: restore it from Git")
    return stages


def _paths(entry: dict[str, Any], *keys: str) -> tuple[str, ...]:
    """Paths of a stage's lists; DVC allows `- path` and `- path: {options}`."""
    items = [item for key in keys for item in entry.get(key) or ()]
    return tuple(item if isinstance(item, str) else str(next(iter(item))) for item in items)


def _feeds(outs: tuple[str, ...], deps: tuple[str, ...]) -> bool:
    return any(overlap(out, dep) for out in outs for dep in deps)


def overlap(one: str, other: str) -> bool:
    """Whether two paths are the same, or one lies inside the other."""
    first, second = PurePosixPath(one), PurePosixPath(other)
    return first.is_relative_to(second) or second.is_relative_to(first)

"""Write the code dependencies of each stage into dvc.yaml, or check them with --check.

DVC follows no imports: a stage reruns only for files among its deps. So the code deps of a stage
are the modules its own module imports, directly or not, at the top or inside functions (blocks
under TYPE_CHECKING never run), and the package data that those modules name in string constants
relative to themselves.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
# Beside weights stands what their training reached: for people, read by no stage.
REACHED = {"figures.json", "probe.json"}


def main() -> int:
    """Rewrite dvc.yaml; with --check, say what differs and return 1."""
    yaml = YAML()
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    content = yaml.load(ROOT / "dvc.yaml")
    stale = [name for name, entry in content["stages"].items() if not update(name, entry)]
    if "--check" in sys.argv[1:]:
        for name in stale:
            print(f"dvc.yaml: the code dependencies of {name} are not its imports: make deps")
        return bool(stale)
    yaml.dump(content, ROOT / "dvc.yaml")
    return 0


def update(name: str, entry: dict[str, list[str]]) -> bool:
    """Put the closure of a stage into its deps; returns whether it was there already."""
    before = list(entry["deps"])
    data = [dep for dep in before if not dep.startswith("src/")]
    entry["deps"][:] = data + closure(SOURCE / "bucolic" / "stages" / f"{name}.py")
    return before == list(entry["deps"])


def closure(start: Path) -> list[str]:
    """Paths, relative to the project, of all modules and package data that a module needs."""
    seen: set[Path] = set()
    waiting = [start]
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            if path.suffix == ".py":
                waiting.extend(needs(path))
    used = sorted(path for path in seen if path.stat().st_size)
    return [path.relative_to(ROOT).as_posix() for path in used]


def needs(path: Path) -> Iterator[Path]:
    """What one module imports of this package, and the data files it names."""
    for node in running_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from module_files(node.module)
            for name in node.names:
                yield from module_files(f"{node.module}.{name.name}")
        elif isinstance(node, ast.Import):
            for name in node.names:
                yield from module_files(name.name)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from data_files(path.parent, node.value)


def running_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those under `if TYPE_CHECKING:`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from running_nodes(node)


def module_files(name: str) -> Iterator[Path]:
    """The file of a module of this package, with the __init__ files above it."""
    parts = name.split(".")
    if parts[0] != "bucolic":
        return
    for depth in range(1, len(parts) + 1):
        base = SOURCE.joinpath(*parts[:depth])
        yield from (p for p in (base / "__init__.py", base.with_suffix(".py")) if p.is_file())


def data_files(folder: Path, named: str) -> Iterator[Path]:
    """Package data under the name `named` beside a module; a folder stands for its files."""
    if not named or len(named) > 80 or any(c in named for c in "\n*?") or named in {".", ".."}:
        return
    path = folder / named
    if path.is_file() and path.suffix != ".py":
        files = [path]
    elif path.is_dir() and "/" not in named and not list(path.glob("*.py")):
        files = [p for p in sorted(path.rglob("*")) if p.is_file()]
    else:
        files = []
    yield from (p for p in files if p.name not in REACHED)


if __name__ == "__main__":
    sys.exit(main())

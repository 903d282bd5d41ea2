"""Where a run works: the user's own workspace, or one of its own for a run with other params.

A run with overrides gets a Git worktree under .work/runs/NAME: HEAD plus the user's uncommitted
edits plus the overrides, sharing DVC's cache and the stores with the main checkout. The user's
params.yaml, outs and reports stay as they are; the result is saved as a DVC experiment.

NAME holds a fingerprint of all that went in, so the same run asked for again after a failure finds
its kept workspace, with the partial work of its stages, and goes on there.
"""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bucolic.errors import DataError, ParamsError
from bucolic.files import file_digest, fingerprint, remove, replacing, write_json
from bucolic.params import PARAMS_FILE, read_yaml
from bucolic.pipeline.environment import child_environment
from bucolic.pipeline.graph import overlap, read_graph

READY = Path(".work/workspace.json")  # written last: a workspace without it is half made
TEMPLATE = re.compile(r"\$\{([^}]+)\}")


@dataclass(frozen=True)
class Workspace:
    """A place to run stages in.

    Attributes:
        root: the folder that holds its dvc.yaml.
        main: the checkout it was made from; `root` itself for the user's own workspace.
        name: of the isolated run and its experiment; None for the user's own workspace.
        environment: variables that its stages need.
    """

    root: Path
    main: Path
    name: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def save(self) -> None:
        """Keep an isolated run's result as the experiment `name`, and remove its folder."""
        if self.name:
            _call(self.root, "dvc", "exp", "save", "--force", "--name", self.name)
            self.discard()

    def discard(self) -> None:
        """Remove an isolated run's folder; the user's own workspace is never touched."""
        if self.name:
            _call(self.main, "git", "worktree", "remove", "--force", "--force", str(self.root))


def open_workspace(main: Path, home: Path, overrides: Mapping[str, Any]) -> Workspace:
    """Return the user's own workspace, or, where there are overrides, an isolated one.

    Args:
        main: the checkout to start from.
        home: holder of the stores that every workspace shares.
        overrides: dotted keys of params.yaml and their values, e.g. {"filter.keywords": ["cow"]}.

    Raises:
        ParamsError: an override names a section that params.yaml lacks.
        DataError: Git or DVC refuse.
    """
    if not overrides:
        return Workspace(main, main)
    name = run_name(main, overrides)
    root = main / ".work" / "runs" / name
    if not (root / READY).is_file():
        _make(main, root, overrides)
    environment = {
        "PYTHONPATH": str(root / "src"),
        "BUCOLIC_HOME": str(home),
        "DVC_EXP_NAME": name,  # as `dvc exp run` sets it: records carry it to MLflow
    }
    return Workspace(root, main, name, environment)


def run_name(main: Path, overrides: Mapping[str, Any]) -> str:
    """Name an isolated run: its first keywords and 8 digits of what it starts from."""
    inputs = _input_folders(main, overrides)
    untracked = {path: file_digest(main / path) for path in _untracked(main, inputs)}
    commit = _call(main, "git", "rev-parse", "HEAD").strip()
    edits = hashlib.sha256(_call_bytes(main, *_DIFF)).hexdigest()
    content = fingerprint([commit, edits, untracked, dict(overrides)])
    keywords = overrides.get("filter.keywords") or list(overrides)
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(map(str, keywords)).lower()).strip("-")
    return f"{words[:30].rstrip('-') or 'run'}-{content[:8]}"


def set_params(path: Path, overrides: Mapping[str, Any]) -> None:
    """Set dotted keys of a YAML file, its comments and order kept.

    A last key that does not exist yet is written all the same: whether it may exist is for the
    schema of params.yaml to say.

    Raises:
        ParamsError: a key's section does not exist.
    """
    yaml = YAML()
    yaml.preserve_quotes = True
    content = yaml.load(path.read_text())
    _override(content, overrides)
    with replacing(path) as temporary, temporary.open("w") as file:
        yaml.dump(content, file)


def _override(content: Any, overrides: Mapping[str, Any]) -> None:
    for dotted, value in overrides.items():
        *sections, key = dotted.split(".")
        node = content
        for section in sections:
            node = node.get(section) if isinstance(node, dict) else None
        if not sections or not isinstance(node, dict):
            raise ParamsError(f"override {dotted!r}: params.yaml has no such section; see the file")
        node[key] = value


_DIFF = ("git", "diff", "--binary", "--no-color", "--no-ext-diff", "HEAD")


def _make(main: Path, root: Path, overrides: Mapping[str, Any]) -> None:
    _remove_half_made(main, root)
    _call(main, "git", "worktree", "add", "--detach", "--force", str(root), "HEAD")
    inputs = _input_folders(main, overrides)
    _carry_edits(main, root, inputs)
    _share_cache(main, root)
    set_params(root / PARAMS_FILE, overrides)
    _link(main, root, inputs)
    write_json(root / READY, dict(overrides))


def _remove_half_made(main: Path, root: Path) -> None:
    remove(root)
    _call(main, "git", "worktree", "prune")


def _carry_edits(main: Path, root: Path, inputs: Sequence[str]) -> None:
    """Bring over what `git status` shows: edits of tracked files, and untracked files."""
    patch = _call_bytes(main, *_DIFF)
    if patch:
        _call_bytes(root, "git", "apply", "--whitespace=nowarn", "-", stdin=patch)
    for path in _untracked(main, inputs):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(main / path, root / path, follow_symlinks=False)


def _untracked(main: Path, inputs: Sequence[str]) -> list[str]:
    """Untracked files that are part of the project: thousands of photographs are not."""
    listed = _call(main, "git", "ls-files", "--others", "--exclude-standard", "-z")
    names = [name for name in listed.split("\0") if name and (main / name).is_file()]
    return [name for name in names if not any(overlap(name, folder) for folder in inputs)]


def _share_cache(main: Path, root: Path) -> None:
    """Point DVC at the main checkout's cache; local settings such as remotes come along."""
    local = main / ".dvc" / "config.local"
    if local.is_file():
        shutil.copy2(local, root / ".dvc" / "config.local")
    cache = _call(main, "dvc", "cache", "dir").strip()
    _call(root, "dvc", "config", "--local", "cache.dir", str((main / cache).resolve()))


def _input_folders(main: Path, overrides: Mapping[str, Any]) -> list[str]:
    """Folders inside the checkout that stages read and none makes: the user's own images.

    Raises:
        ParamsError: params.yaml cannot be read, or an override names a section that it lacks.
    """
    params = read_yaml(main / PARAMS_FILE)
    _override(params, overrides)
    graph = read_graph(main)
    outs = {out for stage in graph for out in stage.outs}
    read = {_resolved(dep, params) for stage in graph for dep in stage.deps}
    given = sorted(dep for dep in read if not any(overlap(dep, out) for out in outs))
    return [dep for dep in given if _is_inside(dep) and (main / dep).is_dir()]


def _is_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _link(main: Path, root: Path, folders: Sequence[str]) -> None:
    """Link the folders that Git has not brought over."""
    for folder in folders:
        if not (root / folder).exists():
            (root / folder).parent.mkdir(parents=True, exist_ok=True)
            (root / folder).symlink_to((main / folder).resolve())


def _resolved(path: str, params: Any) -> str:
    def value(match: re.Match[str]) -> str:
        node = params
        for key in match[1].split("."):
            node = node.get(key, {}) if isinstance(node, dict) else {}
        return str(node)

    return TEMPLATE.sub(value, path)


def _call(folder: Path, *command: str) -> str:
    """Run a command in `folder`; return its output as text, names of files in any encoding."""
    return _call_bytes(folder, *command).decode(errors="surrogateescape")


def _call_bytes(folder: Path, *command: str, stdin: bytes = b"") -> bytes:
    """Run a command in `folder`; return its output as it is, or raise with its last line."""
    done = subprocess.run(
        command, cwd=folder, env=child_environment(), input=stdin, capture_output=True, check=False
    )
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or b"no message").decode(
            errors="replace"
        )
        last = said.splitlines()[-1]
        raise DataError(f"`{' '.join(command[:3])}` failed in {folder}: {last}")
    return done.stdout

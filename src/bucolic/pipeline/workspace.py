"""Where a run works: the user's own workspace, or one of its own for a run with other params.

A run with overrides gets a Git worktree under .work/runs/NAME: the user's files as they lie on the
disk plus the overrides, sharing DVC's cache and the stores with the main checkout. The user's
params.yaml, outs and reports stay as they are; the result is saved as a DVC experiment.

NAME holds a fingerprint of all that went in, so the same run asked for again after a failure finds
its kept workspace, with the partial work of its stages, and goes on there.
"""

import os
import re
import shutil
import stat
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bucolic.base.errors import DataError, ParamsError
from bucolic.base.files import file_digest, fingerprint, remove, write_json
from bucolic.base.lock import waiting_for
from bucolic.base.places import PARAMS_FILE
from bucolic.pipeline import git
from bucolic.pipeline.environment import child_environment
from bucolic.pipeline.graph import overlap, read_graph
from bucolic.pipeline.params import Params
from bucolic.pipeline.yaml_file import editing, read_yaml

RUNS = Path(".work/runs")
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
            who = git.identity(self.root)
            # Below the top of a repository DVC overlooks a dvc.lock that Git does not know yet.
            new = git.names(self.root, "ls-files", "--others", "-z", "--", "dvc.lock")
            lock = ("--include-untracked", str(self.root / "dvc.lock")) if new else ()
            _dvc(self.root, "exp", "save", "--force", "--name", self.name, *lock, extra=who)
            self.discard()

    def discard(self) -> None:
        """Remove an isolated run's folder; the user's own workspace is never touched."""
        if self.name:
            with _alone(self.main):
                remove(self.root / READY)  # from here on it is half made, whatever comes between
                _remove(self.main, self.main / RUNS / self.name)


@dataclass(frozen=True)
class Checkout:
    """What an isolated run starts from: the commit, and the user's files as they lie on the disk.

    Attributes:
        main: the folder of the dvc.yaml.
        top: of the repository, `main` itself or a folder above it.
        commit: that is checked out.
        files: relative to `top`, all that the run's folder gets: what Git tracks and what it would
            add, and whatever else stages read; those that are gone are not among them.
        hidden: tracked files that a sparse checkout leaves out; DVC would save them as removed.
        folders: relative to `main`, folders that stages read and none makes.
    """

    main: Path
    top: Path
    commit: str
    files: tuple[str, ...]
    hidden: tuple[str, ...]
    folders: tuple[str, ...]

    @property
    def inner(self) -> Path:
        """Where the dvc.yaml is in the repository."""
        return self.main.relative_to(self.top)


def open_workspace(main: Path, home: Path, overrides: Mapping[str, Any]) -> Workspace:
    """Return the user's own workspace, or, where there are overrides, an isolated one.

    Args:
        main: the checkout to start from.
        home: holder of the stores that every workspace shares.
        overrides: dotted keys of params.yaml and their values, e.g. {"filter.keywords": ["cow"]}.

    Raises:
        ParamsError: an override names no section.
        DataError: Git or DVC refuse, with their own words, or a file cannot be copied; nothing is
            left of the workspace.
    """
    if not overrides:
        return Workspace(main, main)
    checkout = _checkout(main.resolve(), overrides)
    name = _name(checkout, overrides)
    folder = main / RUNS / name
    root = folder / checkout.inner
    with _alone(main):
        _sweep(main, checkout.inner)
        if not folder.exists():
            _make_or_nothing(checkout, folder, overrides)
    environment = {
        "PYTHONPATH": str(root / "src"),
        "BUCOLIC_HOME": str(home),
        "DVC_EXP_NAME": name,  # as `dvc exp run` sets it: records carry it to MLflow
    }
    return Workspace(root, main, name, environment)


def run_name(main: Path, overrides: Mapping[str, Any]) -> str:
    """Name an isolated run: its first keywords and 8 digits of what it starts from."""
    return _name(_checkout(main.resolve(), overrides), overrides)


def _name(checkout: Checkout, overrides: Mapping[str, Any]) -> str:
    files = {name: _identity(checkout.top / name) for name in checkout.files}
    content = fingerprint([checkout.commit, files, dict(overrides)])
    asked = overrides.get("filter.keywords")
    named = asked if isinstance(asked, list) else list(overrides)
    words = re.sub(r"[^a-z0-9]+", "-", " ".join(map(str, named)).lower()).strip("-")
    return f"{words[:30].rstrip('-') or 'run'}-{content[:8]}"


def _identity(path: Path) -> str:
    """What a copy of a file must have in common with it: content, and whether it is a program."""
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return f"{'x' if path.stat().st_mode & stat.S_IXUSR else '-'} {file_digest(path)}"


def set_params(path: Path, overrides: Mapping[str, Any]) -> None:
    """Set dotted keys of a YAML file, its comments and order kept.

    A key that does not exist yet is written all the same, as is a section of the schema's: whether
    it may exist there is for the schema of params.yaml to say.

    Raises:
        ParamsError: a key's section is neither there nor in the schema, or is a value.
    """
    with editing(path) as content:
        _override(content, overrides)


def _override(content: Any, overrides: Mapping[str, Any]) -> None:
    for dotted, value in overrides.items():
        *sections, key = dotted.split(".")
        node = content if {*sections[:1]} <= {*content, *Params.model_fields} else None
        for section in sections:
            node = node.setdefault(section, {}) if isinstance(node, dict) else None
        if not sections or not isinstance(node, dict):
            raise ParamsError(f"override {dotted!r}: params.yaml has no such section; see the file")
        node[key] = value


def _checkout(main: Path, overrides: Mapping[str, Any]) -> Checkout:
    """Look at the user's checkout.

    Raises:
        ParamsError: params.yaml cannot be read, or an override names no section.
        DataError: Git does not answer, or there is no commit yet.
    """
    commit = git.commit(main)
    if commit is None:
        raise DataError(f"{main} has no commit yet, which a run of its own starts from: make one")
    top = Path(os.fsdecode(git.ask(main, "rev-parse", "--show-toplevel")).removesuffix("\n"))
    _refuse_submodules(top)
    inputs = _inputs(main, overrides)
    tagged = git.names(top, "ls-files", "-t", "-z")
    tracked = {entry[2:] for entry in tagged}
    found = tracked | set(_untracked(main, inputs))
    hidden = {entry[2:] for entry in tagged if entry.startswith("S")}
    return Checkout(
        main=main,
        top=top,
        commit=commit,
        files=tuple(sorted(name for name in found if _is_file(top / name))),
        hidden=tuple(sorted(name for name in hidden if not os.path.lexists(top / name))),
        folders=tuple(name for name in inputs if (main / name).is_dir()),
    )


def _refuse_submodules(top: Path) -> None:
    staged = git.names(top, "ls-files", "--stage", "-z")
    if found := [entry.partition("\t")[2] for entry in staged if entry.startswith("160000 ")]:
        raise DataError(
            f"{top / found[0]} is a Git submodule, and DVC saves no experiment from a worktree "
            "with one: edit params.yaml and run dvc repro in the checkout"
        )


def _untracked(main: Path, inputs: Sequence[str]) -> list[str]:
    """Untracked files that are part of the project: thousands of photographs are not.

    Single files that stages read are, also those that Git is told to ignore.
    """
    options = ("ls-files", "--full-name", "--others", "-z")
    folders = [f":(exclude,literal){name}" for name in inputs if (main / name).is_dir()]
    found = git.names(main, *options, "--exclude-standard", "--", ".", *folders)
    files = [f":(literal){name}" for name in inputs if _is_file(main / name)]
    return found + (git.names(main, *options, "--", *files) if files else [])


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


@contextmanager
def _alone(main: Path) -> Iterator[None]:
    """Make and remove workspaces one process at a time: what is half made, nobody is making."""
    with waiting_for(main / ".work" / "locks" / "runs.lock"):
        yield


def _sweep(main: Path, inner: Path) -> None:
    """Remove what killed preparations left, folders and registrations; the user's are not ours."""
    runs = main / RUNS
    registered = {path for path in _worktrees(main) if path.parent == runs.resolve()}
    there = {path.resolve() for path in runs.glob("*") if path.is_dir()}
    for folder in registered | there:
        if not (folder / inner / READY).is_file():
            _remove(main, folder)


def _remove(main: Path, folder: Path) -> None:
    """Remove a workspace's folder, and then what Git knows of it.

    Not by `git worktree prune`, which would drop worktrees on a disk that is not mounted now.
    """
    remove(folder)
    if folder.resolve() in _worktrees(main):
        git.ask(main, "worktree", "remove", "--force", "--force", str(folder))


def _worktrees(main: Path) -> set[Path]:
    listed = os.fsdecode(git.ask(main, "worktree", "list", "--porcelain")).splitlines()
    return {Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")}


def _make_or_nothing(checkout: Checkout, folder: Path, overrides: Mapping[str, Any]) -> None:
    try:
        _make(checkout, folder, overrides)
    except BaseException as error:
        with suppress(DataError, OSError):  # the first error is the one that says what is wrong
            _remove(checkout.main, folder)
        if isinstance(error, OSError):
            raise DataError(f"{error.filename}: {error.strerror}: no workspace was made") from None
        raise


def _make(checkout: Checkout, folder: Path, overrides: Mapping[str, Any]) -> None:
    """Make a worktree whose files are the user's own, byte for byte.

    Copied and not checked out: Git's filters, line ends and patches follow the user's settings.
    """
    main, root = checkout.main, folder / checkout.inner
    options = ("--detach", "--no-checkout", "--force")
    git.ask(main, "worktree", "add", *options, str(folder), checkout.commit)
    git.ask(folder, "read-tree", checkout.commit)
    if checkout.hidden:
        listed = b"".join(os.fsencode(name) + b"\0" for name in checkout.hidden)
        git.ask(folder, "checkout-index", "-z", "--stdin", stdin=listed)
    for name in checkout.files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(checkout.top / name, folder / name, follow_symlinks=False)
    _share_cache(main, root)
    set_params(root / PARAMS_FILE, overrides)
    _link(main, root, checkout.folders)
    write_json(root / READY, dict(overrides))


def _share_cache(main: Path, root: Path) -> None:
    """Point DVC at the main checkout's cache; local settings such as remotes come along."""
    local = main / ".dvc" / "config.local"
    if local.is_file():
        shutil.copy2(local, root / ".dvc" / "config.local")
    cache = _dvc(main, "cache", "dir").strip()
    _dvc(root, "config", "--local", "cache.dir", str((main / cache).resolve()))


def _inputs(main: Path, overrides: Mapping[str, Any]) -> list[str]:
    """What stages read inside the checkout and none makes: code, and the user's own images.

    Raises:
        ParamsError: params.yaml cannot be read, or an override names no section.
    """
    params = read_yaml(main / PARAMS_FILE)
    _override(params, overrides)
    graph = read_graph(main)
    outs = {out for stage in graph for out in stage.outs}
    read = {_resolved(dep, params) for stage in graph for dep in stage.deps}
    given = sorted(dep for dep in read if not any(overlap(dep, out) for out in outs))
    return [dep for dep in given if _is_inside(dep)]


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


def _dvc(folder: Path, *arguments: str, extra: Mapping[str, str] | None = None) -> str:
    """Run DVC in `folder`; return its output, or raise with its own words."""
    done = subprocess.run(
        ["dvc", *arguments],
        cwd=folder,
        env=child_environment(extra),
        capture_output=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr + done.stdout).decode(errors="replace").splitlines()
        error = next((line for line in said if line.startswith("ERROR: ")), "".join(said[-1:]))
        raise DataError(f"`dvc {arguments[0]}` failed in {folder}: {error or 'no message'}")
    return os.fsdecode(done.stdout)

"""Where things are: ROOT, the checkout with its dvc.yaml, and HOME, which its worktrees share."""

import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from bucolic.base.errors import ParamsError

PARAMS_FILE = "params.yaml"
EXPERIMENTS = "/.dvc/tmp/exps/"  # DVC's folder of checkouts for `dvc exp run --temp` and --queue


def find_root(start: Path) -> Path:
    """Return `start` or the nearest folder above it that holds a dvc.yaml.

    Raises:
        ParamsError: there is none.
    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise ParamsError(f"no dvc.yaml in {start} or above it: run this inside the project")


def find_home(root: Path) -> Path:
    """Return HOME, the one place of .cache, .work, mlflow.db and mlartifacts.

    $BUCOLIC_HOME if set, which is made where it is missing and, where relative, lies under the
    main checkout; else that checkout when `root` is a Git worktree of it or a checkout that DVC
    made for one experiment and removes after it, else `root`.

    Raises:
        ParamsError: $BUCOLIC_HOME is no folder and cannot be made one.
    """
    if asked := os.environ.get("BUCOLIC_HOME"):
        return _asked_home(asked, root)
    return _shared_checkout(root)


def _asked_home(asked: str, root: Path) -> Path:
    try:
        path = Path(asked).expanduser()
        home = (path if path.is_absolute() else _shared_checkout(root) / path).resolve()
        home.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ParamsError(
            f"BUCOLIC_HOME={asked} is no folder and cannot be made one ({reason}): "
            "name another, or unset it"
        ) from None
    return home


def _shared_checkout(root: Path) -> Path:
    root = root.resolve()
    before, found, _ = str(root).partition(EXPERIMENTS)
    if found and (Path(before) / "dvc.yaml").is_file():
        return _shared_checkout(Path(before))
    return _main_checkout(root) or root


def _main_checkout(root: Path) -> Path | None:
    """The folder that `root` stands for in the main checkout, where `root` is in a Git worktree.

    Read from the files that bind a worktree to its repository, as gitrepository-layout(5) has
    them: Git itself may refuse to answer, and a HOME elsewhere would lose what the stores hold.
    """
    top = next((folder for folder in (root, *root.parents) if (folder / ".git").exists()), None)
    if top is None or (top / ".git").is_dir():
        return None
    folder = (top / (top / ".git").read_text().strip().removeprefix("gitdir: ")).resolve()
    if not (folder / "commondir").is_file():
        return None  # a submodule, or a repository kept elsewhere
    common = (folder / (folder / "commondir").read_text().strip()).resolve()
    main = common.parent / root.relative_to(top)
    return main if common.name == ".git" and (main / "dvc.yaml").is_file() else None


def is_passing(root: Path) -> bool:
    """Whether DVC made this checkout for one experiment, and removes it before it ends."""
    return EXPERIMENTS in str(root.resolve())


def keeper(home: Path, root: Path, name: str) -> Path:
    """HOME, or ROOT where the folder `name` in HOME cannot be made or written."""
    for folder in (home, root):
        with suppress(OSError):
            (folder / name).mkdir(parents=True, exist_ok=True)
            if os.access(folder / name, os.W_OK):
                return folder
    return home


def database_path(path: Path) -> str:
    """A database's absolute path as SQLAlchemy's addresses take it, behind `sqlite:///`.

    They decode %XX and end a path at "?". Quoted with its slashes, as MLflow makes the folder that
    it reads in the address before that is decoded.
    """
    text = str(path)
    return "/" + quote(text[1:], safe="") if set("%?") & set(text) else text


def dataset_root(root: Path, named: str) -> Path:
    """Resolve `dataset.root`: absolute, or relative to the project, or else to HOME.

    A data set that Git does not track lies in the main checkout alone, not in its worktrees.
    """
    path = root / named
    return path if path.exists() else find_home(root) / named

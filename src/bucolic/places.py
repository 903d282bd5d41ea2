"""Where things are: ROOT, the checkout with its dvc.yaml, and HOME, which its worktrees share."""

import os
import subprocess
from pathlib import Path

from bucolic.errors import ParamsError

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

    $BUCOLIC_HOME if set, else the main checkout when `root` is a Git worktree or a checkout that
    DVC made for one experiment and removes after it, else `root`.
    """
    if asked := os.environ.get("BUCOLIC_HOME"):
        return Path(asked).resolve()
    before, found, _ = str(root.resolve()).partition(EXPERIMENTS)
    if found and (Path(before) / "dvc.yaml").is_file():
        return find_home(Path(before))
    command = ["git", "rev-parse", "--path-format=absolute", "--git-common-dir"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    common = Path(done.stdout.strip())
    is_main = done.returncode == 0 and common.name == ".git"
    return common.parent if is_main and (common.parent / "dvc.yaml").is_file() else root.resolve()


def dataset_root(root: Path, named: str) -> Path:
    """Resolve `dataset.root`: absolute, or relative to the project, or else to HOME.

    A data set that Git does not track lies in the main checkout alone, not in its worktrees.
    """
    path = root / named
    return path if path.exists() else find_home(root) / named

"""The code that runs is the code that DVC hashes: ROOT/src, whatever environment is active.

An editable install names one checkout. In another one, in a worktree, or in a folder that DVC made
for an experiment, the installed `bucolic` would run that checkout's code while DVC digests the
code that lies here. So the command line looks first whose package it is, and starts itself again
with ROOT/src ahead of everything where it is not ROOT's own.
"""

import os
import sys
from pathlib import Path

from bucolic.base.errors import ParamsError
from bucolic.base.places import find_root

RESTARTED = "BUCOLIC_RESTARTED"  # holds the number of the process that has started again


def run_own_code() -> None:
    """Start this very command again where another checkout's package runs; else return.

    Raises:
        ParamsError: it has been started again already, and still is another checkout's.
    """
    try:
        root = find_root(Path.cwd())
    except ParamsError:
        return  # outside a project there is no other code
    if runs_own_code(root):
        return
    # A process that starts again keeps its number, and its children have others.
    if os.environ.get(RESTARTED) == str(os.getpid()):
        require_own_code(root)
    path = os.pathsep.join(filter(None, [str(root / "src"), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "PYTHONPATH": path, RESTARTED: str(os.getpid())}
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606


def require_own_code(root: Path) -> None:
    """Refuse to run a stage of `root` by another checkout's code.

    Raises:
        ParamsError: naming both places.
    """
    if not runs_own_code(root):
        raise ParamsError(
            f"the code that runs is {_running()}, not that of {root / 'src'}: activate this "
            f"checkout's own environment (make setup, then source {root}/.venv/bin/activate)"
        )


def runs_own_code(root: Path) -> bool:
    """Whether the imported package is that of `root`, or `root` holds none."""
    own = root / "src" / "bucolic"
    return not (own / "__init__.py").is_file() or own.resolve() == _running()


def _running() -> Path:
    return Path(__file__).resolve().parents[1]

"""Tools that others would pick, each installed in an environment of its own, and raced with ours.

Both are whole processes, started in turn: what a user waits for, imports included.
"""

import json
import re
import statistics
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from recorded import ROOT

HOME = ROOT / ".work/bench/peers"
LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, used = os.wait4(child, 0)
wall_s = time.perf_counter() - started
peak_bytes = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
print(json.dumps({"wall_s": wall_s, "peak_bytes": peak_bytes}))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Run:
    """What one process took, and the last JSON object that it put out."""

    wall_s: float
    peak_bytes: int
    said: Any


def environment(name: str, *steps: str) -> str:
    """The Python of a peer's environment, made where it is not there.

    Args:
        name: of its folder.
        steps: requirements, those of a step behind one another; a later step may overrule what an
            earlier one installed.
    """
    folder = HOME / name
    python, ready = folder / "bin/python", folder / "ready.json"
    if not ready.exists() or json.loads(ready.read_text()) != list(steps):
        venv.create(folder, clear=True, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        for step in steps:
            subprocess.run([*install, *step.split()], check=True)
        ready.write_text(json.dumps(steps))
    return str(python)


def timed(command: Sequence[str]) -> Run:
    """Run a command to its end.

    A child's peak begins with what its parent holds, so a small process stands between.
    """
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])} failed:\n{done.stderr[-2000:]}")
    *lines, used = done.stdout.splitlines()
    # A peer says other things on the same lines.
    *_, said = re.findall(r'\{".*\}', "\n".join(lines))
    return Run(**json.loads(used), said=json.loads(said))


def raced(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[Run]]:
    """Run each command once a round, in turn, so that a machine's moods meet both."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(timed(command))
    return runs


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians over rounds."""
    return {
        "wall_s": round(statistics.median(run.wall_s for run in runs), 2),
        "wall_s_all": [round(run.wall_s, 2) for run in runs],
        "peak_mb": round(statistics.median(run.peak_bytes for run in runs) / 1e6, 1),
    }

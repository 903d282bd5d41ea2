"""Tools that others would pick, each installed in an environment of its own, and raced with ours.

Both are whole processes, started in turn: what a user waits for, imports included. Both are given
photographs and captions of COCO, which are no part of this repository: options name them.
"""

import json
import re
import statistics
import subprocess
import sys
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recorded import ROOT

HOME = ROOT / ".work/bench/peers"
PHOTOGRAPHS = ROOT.parent / "shared/coco-mini/train2017"
CAPTIONS = ROOT.parent / "shared/coco-captions/captions_val2017.json"
VERSIONS = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""
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


def photographs_in(folder: Path) -> list[Path]:
    """The JPEGs of a folder, by name; ends where it has none."""
    found = sorted(folder.glob("*.jpg"))
    if not found:
        lack = "has no .jpg" if folder.is_dir() else "is missing"
        sys.exit(f"{folder} {lack}: give --photographs FOLDER, a folder of JPEGs")
    return found


def captions_of(path: Path) -> dict[str, Any]:
    """What a captions file holds, images and annotations; ends where there is no such file."""
    if not path.is_file():
        lack = "is a folder" if path.is_dir() else "is missing"
        sys.exit(f"{path} {lack}: give --captions FILE, a captions file of COCO's")
    found = json.loads(path.read_bytes())
    if not found["annotations"]:
        sys.exit(f"{path} has no captions: give --captions FILE, a captions file of COCO's")
    return dict(found)


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


def packages(python: str, *names: str) -> dict[str, str]:
    """The versions of packages in a peer's environment, of which it chose most by itself."""
    asked = [python, "-c", VERSIONS, *names]
    done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


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

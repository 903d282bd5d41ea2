"""Results of benchmarks: JSON with the command that made them, the commit, and the machine."""

import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from bucolic.base.files import write_json
from bucolic.base.runtime import usable_cpus
from bucolic.pipeline import git

ROOT = Path(__file__).parent.parent
SCRIPT = Path(sys.argv[0]).resolve()  # now: a script may go to another folder


def record(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to a JSON file, behind where it comes from."""
    write_json(
        path, {"command": command(), "commit": git.commit(ROOT), "machine": machine()} | content
    )


def machine() -> dict[str, Any]:
    """What computed: processor, cores that may be used, torch and its threads, devices."""
    about = torch.cpu.get_capabilities()
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "processor": about.get("cpu_name", "unknown"),
        "bf16_tiles": bool(about.get("amx_bf16")),
        "cores": usable_cpus(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "devices": devices,
    }


def command() -> str:
    """What was typed, from the root of the checkout."""
    return shlex.join(["python", str(SCRIPT.relative_to(ROOT)), *sys.argv[1:]])


def clean_commit() -> str:
    """The commit that is checked out; ends where the code differs from it."""
    found = git.state(ROOT)
    if found["commit"] is None or found["dirty"]:
        sys.exit("the code is not that of a commit, which a result could name: commit it first")
    return str(found["commit"])

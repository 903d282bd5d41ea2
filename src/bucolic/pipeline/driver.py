"""Who drives the pipeline: a flow, the DVC that started this stage, or the stage itself."""

import os
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bucolic.base.files import process_name, this_process

DRIVER = "BUCOLIC_DRIVER"  # by which a flow says that it drives the DVC of each single stage


def driver() -> str:
    """Name, as `files.process_name` gives it, of the process whose end ends the pipeline."""
    if named := os.environ.get(DRIVER):
        return named
    with suppress(psutil.Error, OSError):  # one that ends meanwhile, or may not be looked at
        for process in psutil.Process().parents():
            if is_dvc(process.cmdline()):
                return process_name(process.pid)
    return this_process()


def is_dvc(command: Sequence[str]) -> bool:
    """Whether a command line is that of DVC: `dvc`, `python .../dvc` or `python -m dvc`."""
    if not command:
        return False
    program, *words = command
    if Path(program).name.startswith("python"):
        script = next((word for word in words if not word.startswith("-")), "")
        return ("-m", "dvc") in pairwise(words) or Path(script).name == "dvc"
    return Path(program).name == "dvc"

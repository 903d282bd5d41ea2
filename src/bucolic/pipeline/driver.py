"""Who drives the pipeline: the DVC that started this stage, or the stage itself, called by hand."""

from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from bucolic.files import process_name

DVC = {"dvc", "dvc.exe"}
WORDS = 3  # of a command line: python -m dvc


def driver() -> str:
    """Name, as `files.process_name` gives it, of the process whose end ends the pipeline."""
    own = psutil.Process()
    for process in own.parents():
        with suppress(psutil.Error):
            if DVC & {Path(word).name for word in process.cmdline()[:WORDS]}:
                return process_name(process.pid)
    return process_name(own.pid)

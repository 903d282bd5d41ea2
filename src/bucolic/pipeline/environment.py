"""The environment that everything started from here gets: quiet tools, the right interpreter."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from bucolic.pipeline import git
from bucolic.pipeline.services import QUIET


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return os.environ for a child: no telemetry, unbuffered, this environment's bin first.

    A worker or a cron job may run without the environment activated; `dvc` and `bucolic` must be
    found all the same, and be the ones that belong to this interpreter. Variables of Git that a
    hook has are left out: DVC would work on another repository or index.
    """
    folder = str(Path(sys.executable).parent)
    path = os.pathsep.join([folder, os.environ.get("PATH", os.defpath)])
    return {**git.environment(), **QUIET, "PYTHONUNBUFFERED": "1", "PATH": path, **(extra or {})}

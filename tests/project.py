"""A copy of this project in a folder of its own, to run the real pipeline in."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from bucolic.presets import preset_text

ROOT = Path(__file__).resolve().parents[1]
STAGES = ["annotations", "filter", "images", "embed", "shard", "train", "evaluate"]
QUIET = {"DVC_NO_ANALYTICS": "true", "DO_NOT_TRACK": "true", "BUCOLIC_TRACKING": "off"}


@dataclass(frozen=True)
class Project:
    """The copy; commands run in it with this environment's bin first on PATH."""

    root: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; its output is in stdout."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, f"{command}: {done.stdout[-3000:]}"
        return done

    def environment(self) -> dict[str, str]:
        """The environment of every command: quiet, untracked, this interpreter's commands."""
        bin_first = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, **QUIET, "PATH": bin_first, "PYTHONPATH": str(self.root / "src")}

    def repro(self, *arguments: str) -> list[str]:
        """Run `dvc repro`; returns the stages it executed."""
        lines = self.run("dvc", "repro", *arguments).stdout.splitlines()
        return [name for name in STAGES if f"Running stage '{name}':" in lines]

    def record(self, stage: str) -> dict[str, Any]:
        """The record of a stage."""
        return json.loads((self.root / f"reports/records/{stage}.json").read_text())

    def set_param(self, section: str, key: str, value: object) -> None:
        """Set one value of params.yaml."""
        yaml, path = YAML(), self.root / "params.yaml"
        content = yaml.load(path)
        content.setdefault(section, {})[key] = value
        yaml.dump(content, path)

    def outs_of(self, stage: str) -> list[str]:
        """Paths of a stage's outs."""
        lock = YAML(typ="safe").load(self.root / "dvc.lock")["stages"]
        return [out["path"] for out in lock[stage]["outs"]]

    def outputs(self) -> dict[str, str]:
        """DVC's digest of every out that does not hold the time, by stage and path."""
        lock = YAML(typ="safe").load(self.root / "dvc.lock")["stages"]
        return {
            out["path"]: out["md5"]
            for entry in lock.values()
            for out in entry["outs"]
            if "records" not in out["path"]
        }


def copy_project(target: Path, preset: str = "tiny") -> Project:
    """Copy what Git tracks, or would, into `target`, commit it there, and write a preset."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    (target / "params.yaml").write_text(preset_text(preset))
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "copy"]):
        subprocess.run(["git", *identity, *command], cwd=target, check=True)
    return Project(target)

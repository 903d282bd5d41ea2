"""Data of a preset in a scratch folder below .work/bench, made by the stages themselves."""

import os
import shutil
from pathlib import Path

from ruamel.yaml import YAML

from bucolic.base.runtime import Runtime
from bucolic.pipeline.params import Params, parse_params
from bucolic.pipeline.table import STAGES
from bucolic.presets import preset_text
from recorded import ROOT

OF_DATA, OF_MODEL = STAGES[:5], STAGES[5:]
SHARDS = "data/shards"


def params_of(preset: str) -> Params:
    """The params of a preset."""
    return parse_params(dict(YAML(typ="safe").load(preset_text(preset))))


def home_of(preset: str, commit: str) -> Path:
    """Where its data and trainings are kept: results of another commit are another's."""
    return ROOT / ".work/bench" / f"{preset}-{commit[:12]}"


def make_data(home: Path, params: Params) -> None:
    """Run the stages that come before train, where they have not been."""
    if (home / SHARDS / "index.json").exists():
        return
    shutil.copytree(ROOT / "datasets", home / "datasets", dirs_exist_ok=True)
    os.chdir(home)
    for stage in OF_DATA:
        stage.run(params, runtime(home), home)


def runtime(folder: Path) -> Runtime:
    """A workplace below a scratch folder."""
    return Runtime(folder / ".work", ROOT / ".work/bench/cache")

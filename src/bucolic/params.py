"""params.yaml: read as YAML 1.2, validated whole, refused with one clear line.

YAML 1.2 is what DVC reads: `no` is a keyword there and `5e-4` a number, which YAML 1.1 has the
other way round.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bucolic.clip import meadow_clip
from bucolic.clip.config import ClipConfig
from bucolic.config import Section
from bucolic.data.source import DatasetConfig, FolderSource, MeadowSource, read_source
from bucolic.errors import DataError, ParamsError
from bucolic.places import dataset_root
from bucolic.stages.evaluate import EvaluateConfig
from bucolic.stages.filter import FilterConfig
from bucolic.stages.images import ImagesConfig
from bucolic.stages.shard import ShardConfig
from bucolic.stages.train import ModelConfig, TrainConfig

PARAMS_FILE = "params.yaml"


class Params(Section):
    """The whole of params.yaml, one section for each part of the pipeline.

    No section has a default, though its keys may: DVC refuses to run a stage whose section is not
    in the file.
    """

    dataset: DatasetConfig
    filter: FilterConfig
    images: ImagesConfig
    clip: ClipConfig
    shard: ShardConfig
    model: ModelConfig
    train: TrainConfig
    evaluate: EvaluateConfig


def load_params(project: Path) -> Params:
    """Read and validate the params of a project.

    Raises:
        ParamsError: no params.yaml, no YAML, an unknown key, a wrong type or value, or a CLIP that
            cannot judge this data set.
    """
    params = parse_params(read_yaml(project / PARAMS_FILE))
    _check_clip(params, project)
    return params


def read_yaml(path: Path) -> Any:
    """Read a YAML 1.2 file; ParamsError says where it breaks off."""
    try:
        return YAML(typ="safe").load(path)
    except FileNotFoundError:
        raise ParamsError(f"{path} is missing: write one with bucolic preset meadow") from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise ParamsError(f"{path} is not valid YAML{where}: {problem}") from None


def parse_params(content: Any) -> Params:
    """Validate the content of params.yaml; ParamsError names the key and what is wrong with it."""
    try:
        # By way of JSON: strict pydantic takes a list for a tuple there, and nothing else amiss.
        return Params.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ParamsError(f"params.yaml: {_first_problem(error)}") from None
    except (TypeError, ValueError) as error:
        raise ParamsError(f"params.yaml: {error}") from None


def _first_problem(error: ValidationError) -> str:
    # A misspelt key is often also a missing one: the spelling is what the user can mend.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where} is no known key: mend the spelling or remove it (see bucolic params show)"
    if problem["type"] == "missing" and where in Params.model_fields:
        return f"the section {where} is missing: add {where}: {_least_content(where)}"
    if problem["type"] in ("missing", "shares"):
        return f"{where}: {problem['msg']}"
    return f"{where}: {problem['msg']}, not {json.dumps(problem['input'])[:60]}"


def _least_content(section: str) -> str:
    """What a section must hold where all else is to have its default."""
    config = Params.model_fields[section].annotation
    assert isinstance(config, type)
    assert issubclass(config, Section)
    needed = [name for name, field in config.model_fields.items() if field.is_required()]
    return "{" + ", ".join(f"{name}: ..." for name in needed) + "}"


def _check_clip(params: Params, project: Path) -> None:
    """Refuse a CLIP trained on drawings for photographs: its vectors would mean little."""
    clip = params.clip
    if clip.model != meadow_clip.NAME or clip.allow_mismatch:
        return
    try:
        source = read_source(dataset_root(project, params.dataset.root))
    except DataError:
        return  # the stage that reads the data set says what is wrong with it
    if not isinstance(source, MeadowSource):
        kind = "a folder" if isinstance(source, FolderSource) else "COCO"
        raise ParamsError(
            f"params.yaml: clip.model: {clip.model} was trained on drawings and {kind} may hold "
            "photographs: name an open_clip model, or set clip.allow_mismatch: true"
        )


def sections(params: Params, names: Iterable[str]) -> dict[str, Any]:
    """The named sections as JSON types, defaults filled in."""
    content = params.model_dump(mode="json")
    return {name: content[name] for name in names}

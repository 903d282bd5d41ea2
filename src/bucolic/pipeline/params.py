"""params.yaml: validated whole, refused with one clear line.

YAML 1.2 is what DVC reads: `no` is a keyword there and `5e-4` a number, which YAML 1.1 has the
other way round.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError, create_model
from pydantic_core import ErrorDetails

from bucolic.base.errors import DataError, ParamsError
from bucolic.base.loading import loaded
from bucolic.base.places import PARAMS_FILE, dataset_root, find_home
from bucolic.base.section import Section
from bucolic.fetching.source import (
    DatasetConfig,
    FolderSource,
    MeadowSource,
    check_source,
    read_source,
)
from bucolic.models.config import DEFAULT_KIND
from bucolic.models.kinds import kind_named
from bucolic.pipeline.graph import overlap, read_graph
from bucolic.pipeline.table import STAGES
from bucolic.pipeline.yaml_file import name_of, read_yaml
from bucolic.seeing.clip.config import ClipConfig, require_known
from bucolic.seeing.clip.shipped import SHIPPED
from bucolic.stages.filter import FilterConfig
from bucolic.stages.shard import ShardConfig

ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+:", re.IGNORECASE)  # C:/photos is a folder


class TrackingConfig(Section):
    """What MLflow is shown; no stage reads this section, so it reruns nothing.

    Attributes:
        photographs: show pictures of the data set while training, beside what the model makes of
            them. Those of drawn data sets are always shown, and what is drawn from a prompt alone.
    """

    photographs: bool = False


class Params(Section):
    """The whole of params.yaml: here the sections that not one stage alone looks at.

    The others come from the table of stages. No section that a stage reads has a default, though
    its keys may: DVC refuses to run a stage whose section is not in the file.
    """

    dataset: DatasetConfig
    filter: FilterConfig
    clip: ClipConfig
    shard: ShardConfig
    tracking: TrackingConfig = TrackingConfig()


@cache
def _whole(kind: str) -> type[Params]:
    """Params with a field for each section that a stage declares, for one kind of model."""
    places = {name: place for stage in STAGES for name, place in stage.sections.items()}
    entry = kind_named(kind)
    places |= {"model": entry.config, "train": entry.training}  # which extend those of all kinds
    fields: dict[str, Any] = {name: (loaded(place), ...) for name, place in places.items()}
    return create_model("Params", __base__=Params, **fields)


def _kind_in(content: Any) -> str:
    """The kind of model that params name; what is no name is refused with its section."""
    section = content.get("model") if isinstance(content, dict) else None
    kind = section.get("kind", DEFAULT_KIND) if isinstance(section, dict) else DEFAULT_KIND
    return kind if isinstance(kind, str) else DEFAULT_KIND


def load_params(project: Path) -> Params:
    """Read and validate the params of a project.

    Raises:
        ParamsError: no params.yaml, no YAML, an unknown key, a wrong type or value, a CLIP that
            cannot judge this data set, or a crop about what nothing names.
    """
    content = read_yaml(project / PARAMS_FILE)
    params = parse_params(content)
    _check_keys(params, content)
    _check_clip(params, project)
    _check_crop(params)
    return params


def parse_params(content: Any) -> Params:
    """Validate the content of params.yaml; ParamsError names the key and what is wrong with it."""
    try:
        whole = _whole(_kind_in(content))
    except ParamsError as error:
        raise ParamsError(f"params.yaml: {error}") from None
    try:
        # By way of JSON: strict pydantic takes a list for a tuple there, and nothing else amiss.
        return whole.model_validate_json(json.dumps(content))
    except ValidationError as error:
        raise ParamsError(f"params.yaml: {_first_problem(error, whole)}") from None
    except (TypeError, ValueError) as error:
        raise ParamsError(f"params.yaml: {error}") from None


def _first_problem(error: ValidationError, whole: type[Params]) -> str:
    # A misspelt key is often also a missing one: the spelling is what the user can mend.
    problem = min(error.errors(), key=lambda found: found["type"] != "extra_forbidden")
    where = name_of(problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"{where} is no known key: mend the spelling or remove it (see bucolic params show)"
    if problem["type"] == "missing" and where in whole.model_fields:
        return f"the section {where} is missing: add {where}: {_least_content(whole, where)}"
    if problem["type"] in ("missing", "shares"):
        return f"{where}: {problem['msg']}"
    return f"{where}: {_said_of(problem)}, not {json.dumps(problem['input'])[:60]}"


def _said_of(problem: ErrorDetails) -> str:
    """What pydantic says, with lists for its arrays and tuples."""
    if problem["type"] == "too_short":
        return f"Input should be a list of {problem['ctx']['min_length']} or more"
    return "Input should be a list" if problem["type"] == "tuple_type" else problem["msg"]


def _least_content(whole: type[Params], section: str) -> str:
    """What a section must hold where all else is to have its default."""
    config = whole.model_fields[section].annotation
    assert isinstance(config, type)
    assert issubclass(config, Section)
    needed = [name for name, field in config.model_fields.items() if field.is_required()]
    return "{" + ", ".join(f"{name}: ..." for name in needed) + "}"


def _check_keys(params: Params, content: Mapping[str, Any]) -> None:
    """Refuse a file that leaves a key to its default on which a stage depends by itself."""
    for dotted in (name for stage in STAGES for name in stage.params if "." in name):
        section, _, key = dotted.partition(".")
        if key not in content[section]:
            default = json.dumps(sections(params, [dotted])[section][key])
            raise ParamsError(
                f"params.yaml: {dotted} is missing, which DVC compares: add {key}: {default}"
            )


def _check_crop(params: Params) -> None:
    """Refuse a crop about a subject that no category names: every picture would have its middle."""
    if params.shard.crop == "subject" and not params.filter.categories:
        raise ParamsError(
            "params.yaml: shard.crop: subject needs filter.categories, whose boxes say where the "
            "subject is: name some, or set shard.crop: centre"
        )


def _check_clip(params: Params, project: Path) -> None:
    """Refuse a CLIP or a judge that is none, or trained on drawings alone for photographs."""
    for place, clip in _named_clips(params):
        _check_towers(clip, place, params, project)


def _named_clips(params: Params) -> Iterator[tuple[str, ClipConfig]]:
    """Each CLIP that params name, with its place: a section, or a key of one."""
    for name, section in params:
        if isinstance(section, ClipConfig):
            yield name, section
        else:
            found = ((key, value) for key, value in section if isinstance(value, ClipConfig))
            yield from ((f"{name}.{key}", clip) for key, clip in found)


def _check_towers(clip: ClipConfig, place: str, params: Params, project: Path) -> None:
    require_known(clip, place)
    if clip.model not in SHIPPED or clip.allow_mismatch:
        return
    try:
        source = read_source(dataset_root(project, params.dataset.root))
    except DataError:
        return  # the stage that reads the data set says what is wrong with it
    if not isinstance(source, MeadowSource):
        kind = "a folder" if isinstance(source, FolderSource) else "COCO"
        raise ParamsError(
            f"params.yaml: {place}.model: {clip.model} was trained on drawings and {kind} may hold "
            f"photographs: name an open_clip model, or set {place}.allow_mismatch: true"
        )


def check_dataset_root(params: Params, project: Path) -> None:
    """Refuse a `dataset.root` that DVC would not take as the dependency that dvc.yaml makes of it.

    Raises:
        ParamsError: an address, a folder around the project, or one that a stage writes into.
        DataError: there is no such folder, or none that holds a data set; see `check_source`.
    """
    named = params.dataset.root
    if ADDRESS.match(named):
        raise ParamsError(f"dataset.root: DVC takes {named} for an address: name a folder")
    folder = dataset_root(project, named)
    if not folder.is_dir():
        raise DataError(f"dataset.root: no folder {folder}: name one in COCO layout in params.yaml")
    require_apart(params, project)
    check_source(folder)


def require_apart(params: Params, project: Path) -> None:
    """Refuse a `dataset.root` that what stages write would overwrite or change.

    Links are followed: a stage that replaced an out behind one would remove the user's data set.

    Raises:
        ParamsError: it holds the project or HOME, or it holds or is in a stage's output.
    """
    named, top = params.dataset.root, project.resolve()
    folder = dataset_root(project, named).resolve()
    if top.is_relative_to(folder):
        raise ParamsError(f"dataset.root: {named} holds the project itself: name one beside it")
    if (home := find_home(project)).is_relative_to(folder):
        raise ParamsError(f"dataset.root: {named} holds BUCOLIC_HOME, {home}: name others")
    for out in _outs(project):
        if any(overlap(str(folder), str(place)) for place in (top / out, (top / out).resolve())):
            raise ParamsError(f"dataset.root: {named} would hold or be in {out}, a stage's output")


def _outs(project: Path) -> list[str]:
    try:
        return [out for stage in read_graph(project) for out in stage.outs]
    except DataError:
        return []  # DVC itself says what is wrong with dvc.yaml


def section_of(params: Params, name: str) -> Any:
    """A section, also of those that the table of stages adds to the class."""
    return getattr(params, name)


def sections(params: Params, names: Iterable[str]) -> dict[str, Any]:
    """The named sections as JSON types, defaults filled in; of one with a dotted name, that key."""
    content = params.model_dump(mode="json")
    found: dict[str, Any] = {}
    for name in names:
        section, _, key = name.partition(".")
        if key:
            found.setdefault(section, {})[key] = content[section][key]
        else:
            found[section] = content[section]
    return found

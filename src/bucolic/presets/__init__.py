"""Presets of params.yaml and themes for filter.keywords, as the files of this package."""

import re
from importlib.resources import files
from itertools import chain, count
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from bucolic.base.errors import ParamsError
from bucolic.base.files import write_bytes, write_text
from bucolic.base.places import PARAMS_FILE
from bucolic.pipeline.table import STAGES
from bucolic.pipeline.yaml_file import editing

KEPT_FILE = f"{PARAMS_FILE}.old"


def preset_text(name: str) -> str:
    """The params.yaml of a preset; ParamsError lists the names there are.

    A preset says what it sets. A section that a stage reads and it does not name is all defaults,
    and stands in the file all the same, as DVC asks.
    """
    text = _resource("presets", name, ".yaml")
    named = YAML(typ="safe").load(text)
    sections = dict.fromkeys(section for stage in STAGES for section in stage.sections)
    return text + "".join(f"\n{section}: {{}}\n" for section in sections if section not in named)


def theme_words(name: str) -> list[str]:
    """The words of a theme; ParamsError lists the names there are."""
    return _resource("themes", name, ".txt").split()


def write_preset(name: str, root: Path) -> str | None:
    """Write `root`/params.yaml; returns the name that a former one is kept under."""
    text, path = preset_text(name), root / PARAMS_FILE
    kept = _keep(path) if path.exists() else None
    write_text(path, text)
    return kept


def _keep(path: Path) -> str:
    """Copy params.yaml to the first name that is free, or find the copy that there is already."""
    former = path.read_bytes()
    for name in chain([KEPT_FILE], (f"{KEPT_FILE}.{number}" for number in count(1))):
        kept = path.with_name(name)
        if not kept.exists():
            write_bytes(kept, former)
        if kept.is_file() and kept.read_bytes() == former:
            return name
    raise AssertionError("numbers do not end")


def write_theme(name: str, root: Path) -> list[str]:
    """Put a theme's words into filter.keywords of `root`/params.yaml, comments kept."""
    words, path = theme_words(name), root / PARAMS_FILE
    with editing(path) as content:
        section = content.get("filter")
        if not isinstance(section, dict):
            raise ParamsError(f"{path} has no filter section: add filter: {{keywords: []}}")
        sequence = CommentedSeq(words)
        sequence.fa.set_flow_style()
        section["keywords"] = sequence
    return words


def _resource(kind: str, name: str, ending: str) -> str:
    folder = files("bucolic") / kind
    names = sorted(
        item.name.removesuffix(ending) for item in folder.iterdir() if item.name.endswith(ending)
    )
    if not re.fullmatch(r"[\w-]+", name) or name not in names:
        raise ParamsError(f"no {kind[:-1]} is named {name!r}: choose from {', '.join(names)}")
    return (folder / f"{name}{ending}").read_text(encoding="utf-8")

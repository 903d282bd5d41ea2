"""docs/params.md, written from the sections' classes: each key, its default, what it may be.

python tools/params_page.py

What a key means is its entry under `Attributes:` in the docstring of its class, and nothing else.
"""

import inspect
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_args, get_type_hints

import griffe
from pydantic import TypeAdapter

from bucolic.base.files import write_text
from bucolic.base.loading import loaded
from bucolic.base.section import Section
from bucolic.models.kinds import KINDS, Kind, kind_named
from bucolic.pipeline.params import Params
from bucolic.pipeline.table import STAGES

PAGE = Path(__file__).resolve().parents[1] / "docs/params.md"
HEAD = """\
# Params

Every key of params.yaml. Set it there, or for one experiment with
`dvc exp run -S ++section.key=value` (`++` also adds a key that the file leaves out).
`bucolic params show` prints what holds now, and `bucolic params check` says what is amiss.

What is left out has its default. Of the keys that have one, {listed}
stand in the file all the same, since DVC compares them, and so does each section that a stage
reads, if only as `evaluate: {{}}`.

Written by `python tools/params_page.py` from the docstrings: mend those."""
TABLE_HEAD = ["| key | default | values | meaning |", "|---|---|---|---|"]
NOUNS = {"integer": "whole number", "number": "number", "string": "text", "array": "list"}
LIMITS = {  # behind a noun
    "minimum": ", at least {}",
    "exclusiveMinimum": ", above {}",
    "maximum": ", at most {}",
    "exclusiveMaximum": ", below {}",
    "multipleOf": ", a multiple of {}",
    "minItems": " of {} or more",
    "minLength": " of {} or more characters",
    "pattern": " that matches `{}`",
}


@dataclass(frozen=True)
class Row:
    """What the page says of a key, in Markdown.

    Attributes:
        key: with its section, as DVC takes it.
        default: as in YAML.
        values: what it may be.
        meaning: its entry in the docstring, on one line.
    """

    key: str
    default: str
    values: str
    meaning: str

    def __str__(self) -> str:
        """The row of a table."""
        key, *cells = (cell.replace("|", r"\|") for cell in astuple(self))
        return f"| `{key}` | {' | '.join(cells)} |"


def main() -> None:
    """Write the page anew."""
    write_text(PAGE, text())


def text() -> str:
    """The page of the sections there are."""
    listed = " and ".join(f"`{name}`" for name in _compared_by_themselves())
    head = HEAD.format(listed=listed)
    return "\n".join([head, *(line for name in sections() for line in _chapter(name)), ""])


@cache
def sections() -> Mapping[str, type[Section]]:
    """The class of each section, as far as all kinds of model share it, in the schema's order."""
    own = {name: field.annotation for name, field in Params.model_fields.items()}
    of_stages = {name: place for stage in STAGES for name, place in stage.sections.items()}
    return own | {name: loaded(place) for name, place in of_stages.items()}


def _compared_by_themselves() -> list[str]:
    """Keys that stages list without their sections."""
    return [name for stage in STAGES for name in stage.params if "." in name]


def _chapter(section: str) -> Iterator[str]:
    config = sections()[section]
    yield from ("", f"## {section}", "", _introduction(config), "")
    of_kinds = {name: classes[section] for name in KINDS if section in (classes := _of_kind(name))}
    shared = _shared(rows(config, section), [rows(of, section) for of in of_kinds.values()])
    yield from _table(shared)
    for kind, of in of_kinds.items():
        yield from _of_one_kind(kind, section, of, shared)


def _of_kind(name: str) -> Mapping[str, type[Section]]:
    """Sections that a kind of model has of its own."""
    entry = kind_named(name)
    return {"model": loaded(entry.config), "train": loaded(entry.training)}


def _shared(common: Sequence[Row], of_kinds: Sequence[Sequence[Row]]) -> list[Row]:
    """The rows that no kind changes."""
    return [row for row in common if all(row in of_kind for of_kind in of_kinds)]


def _of_one_kind(
    kind: str, section: str, config: type[Section], shared: Sequence[Row]
) -> Iterator[str]:
    """What a kind adds to a section or has another default for, and what it does not look at."""
    idle = [f"{section}.{key}" for key in _ignored(kind_named(kind)) if section == "train"]
    yield from ("", f"### {section}, with `model.kind: {kind}`", "", _introduction(config), "")
    yield from _table([r for r in rows(config, section) if r not in shared and r.key not in idle])
    if idle:
        yield from ("", f"Accepted and without effect: {', '.join(f'`{key}`' for key in idle)}.")


def _ignored(kind: Kind) -> Sequence[str]:
    """Keys of `train` that a kind has no use for, where its own section is all defaults."""
    ignored: Sequence[str] = loaded(kind.plan)(loaded(kind.config)()).ignored
    return ignored


def _table(rows_shown: Sequence[Row]) -> list[str]:
    return [*TABLE_HEAD, *map(str, rows_shown)]


def rows(config: type, place: str) -> list[Row]:
    """What there is to say of each key of a class, those of classes within it included.

    Args:
        config: a section, or the class of a key of one.
        place: its name in params.yaml.

    Raises:
        LookupError: a key has no entry in a docstring.
    """
    schemas = TypeAdapter(config).json_schema()["properties"]
    return [row for key, schema in schemas.items() for row in _of_key(config, place, key, schema)]


def _of_key(config: type, place: str, key: str, schema: Mapping[str, Any]) -> Iterator[Row]:
    name, inner = f"{place}.{key}", _class_in(get_type_hints(config)[key])
    section = next((known for known, other in sections().items() if other is inner), None)
    keys = f"the keys of [{section}](#{section})" if section else "the keys below"
    # No annotation names the kinds: reading params imports none but the one that is asked for.
    values = _one_of(KINDS) if name == "model.kind" else _values(schema, keys)
    yield Row(name, _default(schema), values, _meaning(config, key))
    if inner and not section:
        yield from rows(inner, name)


def _class_in(annotation: Any) -> type | None:
    """The class with keys of its own that an annotation names, if only beside None."""
    named = (one for one in (annotation, *get_args(annotation)) if isinstance(one, type))
    return next((one for one in named if is_dataclass(one) or issubclass(one, Section)), None)


def _default(schema: Mapping[str, Any]) -> str:
    if "default" not in schema:
        return "none: required"
    default = schema["default"]
    if isinstance(default, dict):
        return "as below"
    return f"`{default if isinstance(default, str) else json.dumps(default)}`"


def _values(schema: Mapping[str, Any], keys: str) -> str:
    """What a JSON schema allows, in words; `keys` stands for a class with keys of its own."""
    if "$ref" in schema:
        return keys
    if "anyOf" in schema:
        return ", or ".join(_values(one, keys) for one in schema["anyOf"])
    if "enum" in schema:
        return _one_of(schema["enum"])
    if "prefixItems" in schema:
        return f"[{', '.join(_values(one, keys) for one in schema['prefixItems'])}]"
    plain = {"null": "`null`", "boolean": _one_of(["true", "false"])}
    found = plain.get(schema["type"]) or _limited(schema)
    return f"{found}; each: {_values(schema['items'], keys)}" if "items" in schema else found


def _limited(schema: Mapping[str, Any]) -> str:
    limits = [said.format(schema[limit]) for limit, said in LIMITS.items() if limit in schema]
    return "".join([NOUNS[schema["type"]], *limits])


def _one_of(names: Iterable[str]) -> str:
    *others, last = (f"`{name}`" for name in names)
    return f"{', '.join(others)} or {last}" if others else last


def _introduction(config: type) -> str:
    """What the docstring of a class says before its entries."""
    said = (part for part in _parts(config) if part.kind is griffe.DocstringSectionKind.text)
    return str(next(said).value)


def _meaning(config: type, key: str) -> str:
    """The entry of a key in the docstring of its class, or of the next one above that has it."""
    for above in config.__mro__:
        if key in (entries := _entries(above)):
            return entries[key]
    raise LookupError(
        f"{config.__name__}.{key}: say what it means under Attributes: in the docstring"
    )


@cache
def _entries(config: type) -> Mapping[str, str]:
    """The entries of a class's own docstring, each on one line."""
    kind = griffe.DocstringSectionKind.attributes
    entries = (entry for part in _parts(config) if part.kind is kind for entry in part.value)
    return {entry.name: " ".join(entry.description.split()) for entry in entries}


def _parts(config: type) -> list[griffe.DocstringSection]:
    own = inspect.cleandoc(vars(config).get("__doc__") or "")
    return griffe.parse_google(griffe.Docstring(own))


if __name__ == "__main__":
    main()

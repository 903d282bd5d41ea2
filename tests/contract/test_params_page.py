"""The page of params, docs/params.md, which tools/params_page.py writes of the schema."""

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pydantic import Field
from ruamel.yaml import YAML

from bucolic.base.section import Section
from bucolic.models.kinds import KINDS
from bucolic.pipeline.params import Params, parse_params
from bucolic.presets import preset_text

ROOT = Path(__file__).resolve().parents[2]
PRESETS = sorted(path.stem for path in (ROOT / "src/bucolic/presets").glob("*.yaml"))


class Scarce(Section):
    """A section of which too little is said.

    Attributes:
        told: on two lines, of which
            the second has a | in it.
    """

    told: int = Field(default=3, ge=1, lt=9)
    untold: bool = False


@pytest.fixture
def writer(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """What writes the page."""
    monkeypatch.syspath_prepend(ROOT / "tools")
    return import_module("params_page")


def page() -> str:
    """The page as it is kept."""
    return (ROOT / "docs/params.md").read_text()


def params_of(preset: str, **sections: Any) -> Params:
    """A preset's params, with other sections in place of its own."""
    return parse_params(YAML(typ="safe").load(preset_text(preset)) | sections)


def keys_in(content: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Every key of params, sections aside, by its dotted name."""
    for key, value in content.items():
        if place:
            yield f"{place}{key}"
        if isinstance(value, dict):
            yield from keys_in(value, f"{place}{key}.")


def test_the_page_of_params_is_that_of_the_schema(writer: ModuleType):
    """As the tool writes it, a chapter for each section, in their order."""
    assert page() == writer.text()
    sections = type(params_of("meadow")).model_fields
    assert list(sections) == re.findall(r"^## (\S+)$", page(), re.MULTILINE)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_key_of_a_preset_stands_on_the_page(preset: str):
    """Those that its file names, and those that have their defaults."""
    keys = set(keys_in(params_of(preset).model_dump(mode="json")))
    assert "train.seed" in keys
    assert set() == {key for key in keys if f"\n| `{key}` | " not in page()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_a_kind_of_model_stands_on_the_page(kind: str):
    """Below a heading of its own, the defaults that are the kind's."""
    params = params_of("tiny", model={"kind": kind}, train={}).model_dump(mode="json")
    own = page().split(f"### train, with `model.kind: {kind}`\n")[1].split("\n##")[0]
    assert f"\n| `train.batch_size` | `{params['train']['batch_size']}` | " in own
    assert set() == {key for key in keys_in(params) if f"\n| `{key}` | " not in page()}


def test_a_row_says_what_the_annotation_and_the_docstring_say(writer: ModuleType):
    """Lines of an entry are joined, and no bar in it parts a cell."""
    schema = Scarce.model_json_schema()["properties"]["told"]
    (row,) = writer._of_key(Scarce, "scarce", "told", schema)
    meaning = r"on two lines, of which the second has a \| in it."
    assert f"| `scarce.told` | `3` | whole number, at least 1, below 9 | {meaning} |" == str(row)


def test_a_key_of_which_nothing_is_said_is_an_error(writer: ModuleType):
    """It names class and key."""
    with pytest.raises(LookupError, match=r"^Scarce\.untold: .*docstring"):
        writer.rows(Scarce, "scarce")


def test_each_row_of_the_page_has_four_cells():
    """A bar that belongs to a text is escaped."""
    rows = [line for line in page().splitlines() if line.startswith("|")]
    assert len(rows) > 50
    assert {6} == {len(re.split(r"(?<!\\)\|", row)) for row in rows}

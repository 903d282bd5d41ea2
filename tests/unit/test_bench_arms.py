"""bench/arms.py: what is kept of dl-fp's own rows, which take an hour and a half."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"
ASKED = {"data": {"test": "a"}, "judges": {}, "prompts": 9, "draws": 2}
OURS = {"rows": [{"arm": "I-none"}], "differences": [{"better": "I-none"}]}
OF_ORIGINAL = {
    "rows": [{"arm": "dlfp-image", "commit": "former"}, {"arm": "dlfp-text", "commit": "former"}],
    "differences": [{"better": "dlfp-image", "commit": "former"}],
}


@pytest.fixture
def arms(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script, at a commit of its own."""
    monkeypatch.syspath_prepend(BENCH)
    monkeypatch.setattr(sys, "argv", ["arms.py"])
    import arms as script

    monkeypatch.setattr(script, "clean_commit", lambda: "now")
    return script


def named(entries: list[dict[str, str]], key: str) -> list[tuple[str, str]]:
    """Each entry's arm and commit."""
    return [(entry[key], entry["commit"]) for entry in entries]


@pytest.mark.parametrize(
    ("changed", "made", "kept"),
    [
        ({}, {}, True),
        ({"data": {"test": "b"}}, {}, False),
        ({}, OF_ORIGINAL, False),
    ],
)
def test_the_original_s_rows_stay_where_they_were_not_made_again_and_asked_the_same(
    arms: Any, tmp_path: Path, changed: dict[str, Any], made: dict[str, Any], kept: bool
):
    """Ours are of this commit; of other data none stay, and none stand twice."""
    out = tmp_path / "arms.json"
    out.write_text(json.dumps({**ASKED, **{k: OURS[k] + OF_ORIGINAL[k] for k in OURS}}))
    again = {name: [{**each, "commit": "x"} for each in entries] for name, entries in made.items()}
    found = {**ASKED, **changed, **{k: OURS[k] + again.get(k, []) for k in OURS}}

    written = arms._with_original(found, out)

    commit = "former" if kept else "now"
    theirs = [(arm, commit) for arm in ("dlfp-image", "dlfp-text")] if kept or made else []
    assert named(written["rows"], "arm") == [("I-none", "now"), *theirs]
    assert named(written["differences"], "better") == [("I-none", "now"), *theirs[:1]]


def test_without_a_file_there_is_nothing_to_keep(arms: Any, tmp_path: Path):
    """The first run of the study."""
    written = arms._with_original({**ASKED, **OURS}, tmp_path / "none.json")
    assert named(written["rows"], "arm") == [("I-none", "now")]

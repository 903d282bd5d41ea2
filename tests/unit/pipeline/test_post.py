"""Records that wait for MLflow, wherever they can."""

import json
import logging
import os
from pathlib import Path

import pytest

from bucolic.pipeline.post import post, posted, unposted
from made_records import record_of, write_json


def blocked(folder: Path) -> Path:
    """A folder in which nothing can be made below .work, whoever tries."""
    folder.mkdir()
    (folder / ".work").touch()
    return folder


def test_a_record_waits_in_home(tmp_path: Path):
    """The copy in HOME's outbox says which workspace it came from."""
    path = post(tmp_path / "home", tmp_path / "root", record_of("filter"))
    assert tmp_path / "home/.work/outbox" / f"{record_of('filter')['record_id']}.json" == path
    assert str(tmp_path / "root") == json.loads(path.read_text())["root"]
    assert [path] == list(posted(tmp_path / "home", tmp_path / "root"))


def test_a_home_that_cannot_be_written_leaves_it_to_the_workspace(tmp_path: Path):
    """Then the record waits in the workspace's own outbox, and is found there."""
    home = blocked(tmp_path / "home")
    path = post(home, tmp_path / "root", record_of("filter"))
    assert path
    assert tmp_path / "root/.work/outbox" == path.parent
    assert [path] == list(posted(home, tmp_path / "root"))


@pytest.mark.parametrize(
    ("status", "kept"),
    [("ok", "reports/records/filter.json"), ("failed", ".work/failures/filter.json")],
)
def test_where_nothing_can_wait_one_line_says_where_the_record_is(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, status: str, kept: str
):
    """Nothing is raised; the line names the file that `bucolic track` will read."""
    home = blocked(tmp_path / "home")
    with caplog.at_level(logging.WARNING, "bucolic"):
        assert post(home, home, {**record_of("filter"), "status": status}) is None
    (line,) = [record.getMessage() for record in caplog.records]
    assert f"{home}/.work/outbox: Not a directory" in line
    assert f"it stays in {kept}, `bucolic track` sends it" in line


def test_a_folder_whose_name_is_no_utf8_keeps_no_record_back(tmp_path: Path):
    """Its name comes out of the outbox as it went in."""
    root = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    path = post(tmp_path, root, record_of("filter"))
    assert path
    assert str(root) == json.loads(path.read_text())["root"]


def test_records_that_were_never_posted_are_found(tmp_path: Path):
    """Neither those in an outbox nor those that MLflow has: the rest, failures as well."""
    for number, name in enumerate(("filter", "images", "embed")):
        record = {**record_of(name), "record_id": f"r{number}"}
        write_json(tmp_path / f"reports/records/{name}.json", record)
    write_json(tmp_path / ".work/failures/train.json", {**record_of("train"), "record_id": "r3"})
    post(tmp_path, tmp_path, {**record_of("filter"), "record_id": "r0"})
    write_json(tmp_path / ".work/tracked/r1.json", {"url": "x"})
    found = {path.name for path in unposted(tmp_path, tmp_path)}
    assert {"embed.json", "train.json"} == found

"""The graph of dvc.yaml."""

from pathlib import Path

import pytest

from bucolic.base.errors import DataError
from bucolic.pipeline.graph import read_graph, require_outs_inside


def write(folder: Path, text: str) -> Path:
    """Make a project of one dvc.yaml."""
    (folder / "dvc.yaml").write_text(text)
    return folder


def test_stages_come_after_what_they_need(toy: Path):
    """Order follows deps, not the file; an out inside a dep's folder counts as a link."""
    graph = read_graph(toy)
    assert [stage.name for stage in graph] == ["first", "second", "third"]
    assert [stage.upstream for stage in graph] == [(), ("first",), ("second",)]
    assert graph[2].outs == ("third.txt", "reports/records/third.json", "reports/third.json")


def test_independent_stages_keep_the_order_of_the_file(tmp_path: Path):
    """Two stages with nothing in common stay as written."""
    text = "stages:\n  b: {cmd: x, outs: [b]}\n  a: {cmd: x, outs: [a]}\n"
    assert [stage.name for stage in read_graph(write(tmp_path, text))] == ["b", "a"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: [", "not YAML"),
        ("stages: {}\n", "lists no stages"),
        (
            "stages:\n  a: {cmd: x, deps: [b], outs: [a]}\n  b: {cmd: x, deps: [a], outs: [b]}\n",
            "in a circle, among a, b",
        ),
    ],
)
def test_a_broken_file_is_named_in_one_line(tmp_path: Path, text: str, words: str):
    """Broken YAML, no stages, a circle: one line that says which."""
    with pytest.raises(DataError, match=words) as caught:
        read_graph(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_missing_file_says_where_to_go(tmp_path: Path):
    """Outside a project the message says to go to the root."""
    with pytest.raises(DataError, match="project's root"):
        read_graph(tmp_path)


def test_outs_behind_a_link_out_of_the_checkout_are_refused(toy: Path, tmp_path: Path):
    """DVC would say so once the stage has run; the line names what works, and links inside may."""
    disk = tmp_path / "disk"
    disk.mkdir()
    graph = read_graph(toy)
    (toy / "kept").mkdir()
    (toy / "reports").symlink_to("kept")
    require_outs_inside(toy, graph)
    (toy / "reports").unlink()
    (toy / "reports").symlink_to(disk)
    with pytest.raises(DataError, match=f"reports is a link out .*: dvc cache dir --local {disk}"):
        require_outs_inside(toy, graph)

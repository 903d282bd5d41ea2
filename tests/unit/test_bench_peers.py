"""bench/peers.py: what races with a peer are given, and what is recorded of it."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"


@pytest.fixture(autouse=True)
def bench(monkeypatch: pytest.MonkeyPatch):
    """Its modules can be imported."""
    monkeypatch.syspath_prepend(BENCH)


def test_a_folder_of_photographs_that_is_not_there_ends_in_one_line(tmp_path: Path):
    """A plain clone has none; the line names the option to give."""
    from peers import photographs_in

    with pytest.raises(SystemExit) as ended:
        photographs_in(tmp_path / "none")
    told = f"{tmp_path}/none is missing: give --photographs FOLDER, a folder of JPEGs"
    assert told == ended.value.code
    (tmp_path / "a.png").touch()
    with pytest.raises(SystemExit) as ended:
        photographs_in(tmp_path)
    assert f"{tmp_path} has no .jpg: give --photographs FOLDER, a folder of JPEGs" == (
        ended.value.code
    )


def test_photographs_come_by_name(tmp_path: Path):
    """So that two machines cut the same parts."""
    from peers import photographs_in

    for name in ("b.jpg", "a.jpg", "c.txt"):
        (tmp_path / name).touch()
    assert ["a.jpg", "b.jpg"] == [path.name for path in photographs_in(tmp_path)]


def test_a_file_of_captions_that_is_not_there_ends_in_one_line(tmp_path: Path):
    """Nor does a folder, or a file without captions, make a traceback."""
    from peers import captions_of

    empty = tmp_path / "empty.json"
    empty.write_text(json.dumps({"images": [], "annotations": []}))
    reasons = {tmp_path / "none": "is missing", tmp_path: "is a folder", empty: "has no captions"}
    for path, reason in reasons.items():
        with pytest.raises(SystemExit) as ended:
            captions_of(path)
        told = f"{path} {reason}: give --captions FILE, a captions file of COCO's"
        assert told == ended.value.code


def test_too_few_captions_for_a_race_end_in_one_line(tmp_path: Path):
    """Embedding takes 1,195 of them, each another."""
    from embed import texts_of

    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"annotations": [{"caption": f"cow {n % 9}"} for n in range(2000)]}))
    with pytest.raises(SystemExit, match="has 9 different captions of 1195 that are needed"):
        texts_of(path)
    path.write_text(json.dumps({"annotations": [{"caption": f"cow  {n}"} for n in range(2000)]}))
    texts = texts_of(path)
    assert (1195, "cow 0") == (len(texts), texts[0])


def test_versions_are_those_of_the_peers_own_environment():
    """Which chose them by itself, when its requirements were installed."""
    from peers import packages

    assert {"numpy": version("numpy"), "torch": version("torch")} == packages(
        sys.executable, "numpy", "torch"
    )


def test_two_that_select_different_images_end_the_race():
    """In any round, and though they are as many."""
    from filter import _selected
    from peers import Run

    def runs(*digests: str) -> list[Run]:
        return [Run(1.0, 1, {"selected": 2, "sha256": digest}) for digest in digests]

    with pytest.raises(SystemExit, match="do not select the same images"):
        _selected({"ours": runs("a", "a"), "peer": runs("a", "b")})
    same = {"ours": runs("a", "a"), "peer": runs("a", "a")}
    assert {"selected": 2, "selected_sha256": "a"} == _selected(same)


def test_a_ratio_of_shards_is_the_median_of_those_of_the_rounds():
    """Of runs in turn: a round that was slow for both is no better and no worse than another."""
    from peers import Run
    from shard import _compared

    def runs(*rates: float) -> list[Run]:
        said = {"images": 9, "images_s": 1.0, "shard_s": 0.5}
        return [Run(2.0, 10**6, said | {"rate": rate}) for rate in rates]

    found = _compared(
        {"scaled": runs(120, 60, 90), "whole": runs(80, 40, 10), "peer": runs(100, 40, 100)}
    )
    assert [1.2, 1.5, 0.9] == found["ratio_vs_img2dataset_all"]
    assert 1.2 == found["ratio_vs_img2dataset"]
    assert [0.8, 1.0, 0.1] == found["ratio_decoded_whole_all"]
    assert 0.8 == found["ratio_decoded_whole"]
    assert [120, 60, 90] == found["ours"]["scaled"]["images_per_s_all"]
    assert (90, 100) == (found["ours"]["scaled"]["images_per_s"], found["peer"]["images_per_s"])


def test_a_server_counts_its_answers_and_their_bytes(tmp_path: Path):
    """Those with a file or a part of one; what is not there is no answer."""
    import requests

    from site_server import serving

    (tmp_path / "a.jpg").write_bytes(b"0123456789")
    with serving(tmp_path) as server:
        assert 404 == requests.get(f"{server.url}/b.jpg", timeout=9).status_code
        assert (0, 0) == (server.answers, server.sent_bytes)
        requests.get(f"{server.url}/a.jpg", timeout=9)
        part = requests.get(f"{server.url}/a.jpg", headers={"Range": "bytes=2-4"}, timeout=9)
        assert b"234" == part.content
    assert (2, 13) == (server.answers, server.sent_bytes)

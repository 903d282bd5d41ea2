"""Files out of a zip archive on a server, without the others."""

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from bucolic.fetching import http, members, remote_zip
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.http import RETRIES, RefusedError, open_sealed_session
from bucolic.fetching.members import fetch_members
from http_server import Bucket, answering, served

SMALL, LARGE, LACKING = "annotations/small.json", "annotations/large.json", "annotations/none.json"
DRAW = random.Random(0)  # noqa: S311 - no secret
FILES = {
    LARGE: DRAW.randbytes(300_000),
    SMALL: DRAW.randbytes(20_000),
    "end": DRAW.randbytes(9_000),
}
LIMIT_BYTES = 1_000_000


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kilobyte at a time."""
    for module in (members, remote_zip):
        monkeypatch.setattr(module, "BLOCK_BYTES", 1024)


def archive() -> bytes:
    """A zip of them, the large one first."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as bundle:
        for name, content in FILES.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def fetch(remote: RemoteFile, folder: Path, *names: str) -> dict[str, bytes] | None:
    """The contents of what comes."""
    found = fetch_members(remote, folder, names, LIMIT_BYTES)
    return found and {name: path.read_bytes() for name, path in found.items()}


def moved_bytes(bucket: Bucket) -> int:
    """How much was asked for so far."""
    spans = [asked.removeprefix("bytes=").split("-") for asked in bucket.ranges]
    return sum(int(last) - int(first) + 1 for first, last in spans)


def test_a_file_comes_without_the_others_and_once(bucket: Bucket, tmp_path: Path):
    """Its own bytes, those of the archive's list, and what it lacks is remembered, too."""
    remote = served(bucket, archive())
    expected = {SMALL: FILES[SMALL]}
    assert fetch(remote, tmp_path / "kept", SMALL, LACKING) == expected
    assert len(FILES[SMALL]) < moved_bytes(bucket) < len(FILES[SMALL]) + 10_000
    bucket.ranges.clear()
    assert fetch(remote, tmp_path / "kept", SMALL, LACKING) == expected
    assert bucket.ranges == []


def test_one_more_file_is_fetched_by_itself(bucket: Bucket, tmp_path: Path):
    """A theme that asks for more does not fetch again what is there."""
    remote = served(bucket, archive())
    fetch(remote, tmp_path / "kept", LARGE)
    bucket.ranges.clear()
    assert fetch(remote, tmp_path / "kept", LARGE, SMALL) == {
        name: FILES[name] for name in (LARGE, SMALL)
    }
    assert moved_bytes(bucket) < len(FILES[SMALL]) + 10_000


def test_a_kept_file_that_is_torn_comes_again(bucket: Bucket, tmp_path: Path):
    """Its digest is looked at each time."""
    remote = served(bucket, archive())
    found = fetch_members(remote, tmp_path / "kept", [SMALL], LIMIT_BYTES)
    assert found
    found[SMALL].write_bytes(FILES[SMALL][:-1])
    assert fetch(remote, tmp_path / "kept", SMALL) == {SMALL: FILES[SMALL]}


def test_what_fails_for_now_is_asked_for_again(bucket: Bucket, tmp_path: Path):
    """A busy server and a body that breaks off are met with patience."""
    remote = served(bucket, archive())
    bucket.busy["/a.zip"], bucket.cut["/a.zip"] = RETRIES - 1, 0
    assert fetch(remote, tmp_path / "kept", SMALL) == {SMALL: FILES[SMALL]}


def with_another_checksum(content: bytes) -> bytes:
    """The archive's list lies about what it holds."""
    changed = bytearray(content)
    for at in (place for place in range(len(content)) if content.startswith(b"PK\1\2", place)):
        changed[at + 16] ^= 255
    return bytes(changed)


def with_a_broken_name(content: bytes) -> bytes:
    """A name in its list says that it is UTF-8."""
    changed = bytearray(content)
    at = content.rindex(b"PK\1\2")
    changed[at + 9] |= 8
    changed[at + 46] = 255
    return bytes(changed)


ODD: list[Callable[[bytes], bytes]] = [
    with_another_checksum,
    lambda content: content[:-60],
    lambda content: content.replace(b"PK\1\2", b"PK\1\3"),
    lambda content: content.replace(b"PK\1\2\x14\3\x14", b"PK\1\2\x14\3\xff"),
    with_a_broken_name,
    lambda _: bytes(50_000),
    lambda _: b"",
]


@pytest.mark.parametrize("change", ODD)
def test_an_archive_that_lies_is_left_to_its_digest(
    bucket: Bucket, tmp_path: Path, change: Callable[[bytes], bytes]
):
    """Nothing of it is kept: whoever fetches all of it will say what is wrong."""
    content = change(archive())
    remote = served(bucket, content, size_bytes=max(1, len(content)))
    assert fetch(remote, tmp_path / "kept", SMALL) is None
    assert not list((tmp_path).rglob("*.json"))


def test_a_server_without_ranges_or_with_another_file_is_left(bucket: Bucket, tmp_path: Path):
    """Its answer is not read."""
    remote = served(bucket, archive(), size_bytes=len(archive()) + 1)
    assert fetch(remote, tmp_path / "kept", SMALL) is None
    bucket.ignores_ranges = True
    assert fetch(served(bucket, archive()), tmp_path / "kept", SMALL) is None


def test_nothing_is_asked_for_where_somebody_can_stand_between(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Over http from another machine, or by a redirect to there, parts would be anybody's."""
    remote = served(bucket, archive())
    bucket.habits["/far.zip"] = answering(302, Location=f"{bucket.url}/a.zip")
    leading = served(bucket, archive(), urls=(f"{bucket.url}/far.zip",))
    assert fetch(leading, tmp_path / "led", SMALL) == {SMALL: FILES[SMALL]}
    bucket.asked.clear()
    other = bucket.url.replace("127.0.0.1", "127.0.0.2")
    bucket.habits["/far.zip"] = answering(302, Location=f"{other}/a.zip")
    assert fetch(leading, tmp_path / "other", SMALL) is None
    assert {"/far.zip"} == set(bucket.asked)
    monkeypatch.setattr(http, "THIS_MACHINE", set())
    bucket.asked.clear()
    assert fetch(remote, tmp_path / "far", SMALL) is None
    assert not bucket.asked


@pytest.mark.parametrize(
    ("asked", "target", "follows"),
    [
        ("https://far.example/a.zip", "https://other.example/a.zip", True),
        ("https://far.example/a.zip", "http://far.example/a.zip", False),
        ("https://far.example/a.zip", "http://127.0.0.1/a.zip", False),
        ("https://far.example/a.zip", "https://localhost/a.zip", False),
        ("http://127.0.0.1/a.zip", "http://localhost/b.zip", True),
        ("http://127.0.0.1/a.zip", "https://far.example/a.zip", True),
        ("http://127.0.0.1/a.zip", "http://far.example/a.zip", False),
    ],
)
def test_a_redirect_is_followed_where_nobody_can_stand_between(
    asked: str, target: str, follows: bool
):
    """From elsewhere none leads to this machine, whose ports are nobody else's, through a proxy."""
    response = requests.Response()
    response.status_code, response.url = 302, asked
    response.headers["Location"] = target
    with open_sealed_session(asked) as session:
        if follows:
            assert session.get_redirect_target(response) == target
        else:
            with pytest.raises(RefusedError):
                session.get_redirect_target(response)


def test_what_is_on_this_machine_is_asked_for_without_a_proxy(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """It would stand between, in clear."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    remote = served(bucket, archive())
    assert fetch(remote, tmp_path / "kept", SMALL) == {SMALL: FILES[SMALL]}


def test_a_file_that_was_not_asked_for_again_is_kept(bucket: Bucket, tmp_path: Path):
    """Themes take turns: one without categories does not lose the other's instances."""
    remote = served(bucket, archive())
    for name in (LARGE, SMALL, LARGE):
        bucket.ranges.clear()
        assert fetch(remote, tmp_path / "kept", name) == {name: FILES[name]}
    assert bucket.ranges == []


def test_a_file_over_the_limit_is_left(bucket: Bucket, tmp_path: Path):
    """By what the list says of it, before it is fetched."""
    remote = served(bucket, archive())
    assert fetch_members(remote, tmp_path / "kept", [LARGE], 1000) is None
    assert moved_bytes(bucket) < 10_000

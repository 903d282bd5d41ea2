"""Fetching from a local server that misbehaves as COCO's may."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bucolic.data.fetch import (
    RETRIES,
    NotThereError,
    RemoteFile,
    fetch_bytes,
    fetch_file,
    open_session,
)
from bucolic.errors import DataError, TransientError
from http_server import Bucket

CONTENT = bytes(range(256)) * 1000


def remote(bucket: Bucket, content: bytes = CONTENT, **changes: object) -> RemoteFile:
    """Put a file on the server and describe it."""
    (bucket.folder / "a.zip").write_bytes(content)
    known = {
        "name": "a.zip",
        "urls": (f"{bucket.url}/a.zip",),
        "size_bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return RemoteFile(**{**known, **changes})


def test_a_file_is_fetched_once_and_verified(bucket: Bucket, tmp_path: Path):
    """The file arrives whole, and a second call asks the server for nothing."""
    described = remote(bucket)
    path = fetch_file(open_session(), described, tmp_path / "got")
    assert path.read_bytes() == CONTENT
    fetch_file(open_session(), described, tmp_path / "got")
    assert {"/a.zip": 1} == dict(bucket.asked)


def test_two_at_once_fetch_a_file_once(bucket: Bucket, tmp_path: Path):
    """The second waits for the first and finds the file there, instead of writing into its part."""
    described = remote(bucket, CONTENT * 12)
    with ThreadPoolExecutor(2) as pool:
        calls = [pool.submit(fetch_file, open_session(), described, tmp_path) for _ in range(2)]
    assert [CONTENT * 12] * 2 == [call.result().read_bytes() for call in calls]
    assert {"/a.zip": 1} == dict(bucket.asked)


def test_a_broken_transfer_resumes_where_it_broke(bucket: Bucket, tmp_path: Path):
    """What came before a break is kept, to the mebibyte; the next call asks for the rest alone."""
    described = remote(bucket, CONTENT * 12)
    bucket.cut["/a.zip"] = 2_500_000
    with pytest.raises(TransientError, match="run again to resume"):
        fetch_file(open_session(), described, tmp_path)
    kept = (tmp_path / "a.zip.part").stat().st_size
    assert 2 << 20 == kept
    assert fetch_file(open_session(), described, tmp_path).read_bytes() == CONTENT * 12
    assert ["bytes=0-", f"bytes={kept}-"] == bucket.ranges


def test_a_server_without_ranges_starts_over(bucket: Bucket, tmp_path: Path):
    """Where the server sends the whole file again, it replaces the part instead of growing it."""
    bucket.ignores_ranges = True
    (tmp_path / "a.zip.part").write_bytes(b"x" * 500)
    assert fetch_file(open_session(), remote(bucket), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"sha256": "0" * 64}, "its sha256 is not 0000"), ({"size_bytes": 256_001}, "256000 bytes")],
)
def test_wrong_content_is_refused_and_removed(
    bucket: Bucket, tmp_path: Path, changes: dict[str, object], said: str
):
    """A file of another size or checksum stops in one line and leaves nothing behind."""
    with pytest.raises(DataError, match=said) as caught:
        fetch_file(open_session(), remote(bucket, **changes), tmp_path / "got")
    assert 3 == caught.value.exit_code
    assert [] == list((tmp_path / "got").iterdir())


def test_a_busy_server_is_asked_again(bucket: Bucket):
    """503 is retried until it passes."""
    (bucket.folder / "b.jpg").write_bytes(b"picture")
    bucket.busy["/b.jpg"] = 2
    assert b"picture" == fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"])
    assert 3 == bucket.asked["/b.jpg"]


def test_a_server_busy_for_long_is_transient(bucket: Bucket):
    """503 to the last retry ends as a passing failure, exit code 75."""
    bucket.busy["/b.jpg"] = 100
    with pytest.raises(TransientError, match="answers 503") as caught:
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"])
    assert (75, RETRIES + 1) == (caught.value.exit_code, bucket.asked["/b.jpg"])


def test_the_second_address_serves_what_the_first_has_not(bucket: Bucket):
    """Addresses are tried in order; only where all say no is the file not there."""
    (bucket.folder / "b.jpg").write_bytes(b"picture")
    session, urls = open_session(), [f"{bucket.url}/x.jpg", f"{bucket.url}/b.jpg"]
    assert b"picture" == fetch_bytes(session, urls)
    with pytest.raises(NotThereError, match="answers 404"):
        fetch_bytes(session, urls[:1])


def test_a_server_that_is_away_is_transient(monkeypatch: pytest.MonkeyPatch):
    """Nobody listening is a passing failure, told in one line."""
    monkeypatch.setattr("bucolic.data.fetch.BACKOFF_S", 0.0)
    with pytest.raises(TransientError) as caught:
        fetch_bytes(open_session(), ["http://127.0.0.1:9/b.jpg"])
    assert 1 == len(str(caught.value).splitlines())


def test_a_transfer_that_breaks_inside_the_body_is_tried_again(bucket: Bucket):
    """One reset in the middle of an image does not fail the stage."""
    (bucket.folder / "b.jpg").write_bytes(CONTENT)
    bucket.cut["/b.jpg"] = 1000
    assert fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"]) == CONTENT
    assert 2 == bucket.asked["/b.jpg"]

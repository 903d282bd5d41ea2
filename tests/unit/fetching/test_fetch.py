"""Fetching from a local server that misbehaves as COCO's may."""

import errno
import hashlib
import logging
import os
import queue
import resource
import socket
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bucolic.base import lock
from bucolic.base.errors import DataError, TransientError
from bucolic.fetching import fetch, http
from bucolic.fetching.fetch import RemoteFile, bytes_to_come, fetch_bytes, fetch_file
from bucolic.fetching.http import (
    BACKOFF_S,
    LONGEST_WAIT_S,
    RETRIES,
    AwayError,
    NotThereError,
    RefusedError,
    UntrustedError,
    open_session,
    wait_before,
)
from http_server import Bucket, answering, sending, serving_securely

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


def test_who_waits_for_anothers_transfer_says_so(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While another process holds the folder, one line names the file that is waited for."""
    said: queue.Queue[str] = queue.Queue()
    monkeypatch.setattr(lock.logger, "info", lambda form, *given: said.put(form % given))
    described = remote(bucket)
    with ThreadPoolExecutor(1) as pool:
        with lock.waiting_for(tmp_path / "got.lock"):
            call = pool.submit(fetch_file, open_session(), described, tmp_path / "got")
            told = said.get(timeout=30)
        assert CONTENT == call.result().read_bytes()
    assert "a.zip: another process is fetching it: waiting for it" == told


def test_a_broken_transfer_resumes_where_it_broke(bucket: Bucket, tmp_path: Path):
    """What came before a break is kept, and the rest alone is asked for, in the same call."""
    described = remote(bucket, CONTENT * 12)
    bucket.cut["/a.zip"] = 2_500_000
    assert fetch_file(open_session(), described, tmp_path).read_bytes() == CONTENT * 12
    assert ["bytes=2500000-"] == bucket.ranges


def test_a_transfer_that_keeps_breaking_is_kept_for_the_next_call(bucket: Bucket, tmp_path: Path):
    """It ends as a passing failure; the next call begins where this one ended."""
    described = remote(bucket, CONTENT * 12)
    bucket.habits["/a.zip"] = sending([CONTENT], length=len(CONTENT) * 12)
    with pytest.raises(AwayError, match="IncompleteRead"):
        fetch_file(open_session(), described, tmp_path)
    assert CONTENT == (tmp_path / "a.zip.part").read_bytes()
    del bucket.habits["/a.zip"]
    assert fetch_file(open_session(), described, tmp_path).read_bytes() == CONTENT * 12
    assert f"bytes={len(CONTENT)}-" == bucket.ranges[-1]


def test_a_short_body_without_a_length_is_resumed(bucket: Bucket, tmp_path: Path):
    """Where no length is promised, the promised size says that the transfer broke off."""
    described, parts = remote(bucket), [CONTENT[:1000]]
    bucket.habits["/a.zip"] = sending(parts)
    with pytest.raises(AwayError, match="it broke off"):
        fetch_file(open_session(), described, tmp_path)
    del bucket.habits["/a.zip"]
    assert fetch_file(open_session(), described, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("left", [b"x" * 500, b"x" * len(CONTENT), b"x" * len(CONTENT) * 2])
def test_a_part_that_does_not_fit_is_begun_anew(bucket: Bucket, tmp_path: Path, left: bytes):
    """A stale part, shorter, as long or longer, costs one more transfer and no second command."""
    (tmp_path / "a.zip.part").write_bytes(left)
    assert fetch_file(open_session(), remote(bucket), tmp_path).read_bytes() == CONTENT


def test_a_part_that_the_server_cannot_continue_is_begun_anew(bucket: Bucket, tmp_path: Path):
    """416 to a resumed transfer starts over; what the server then serves is what counts."""
    described = remote(bucket, size_bytes=len(CONTENT) + 9)
    (tmp_path / "a.zip.part").write_bytes(CONTENT + b"x")
    with pytest.raises(DataError, match="256000 bytes came, 256009 were promised"):
        fetch_file(open_session(), described, tmp_path)
    assert [f"bytes={len(CONTENT) + 1}-"] == bucket.ranges
    assert 2 == bucket.asked["/a.zip"]


def test_a_continuation_from_another_place_is_not_appended(bucket: Bucket, tmp_path: Path):
    """A 206 that begins elsewhere than the part ends makes no file of two halves."""

    def from_the_start(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(206 if handler.headers.get("Range") else 200)
        handler.send_header("Content-Range", f"bytes 0-{len(CONTENT) - 1}/{len(CONTENT)}")
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.end_headers()
        handler.wfile.write(CONTENT)

    bucket.habits["/a.zip"] = from_the_start
    (tmp_path / "a.zip.part").write_bytes(CONTENT[:1000])
    assert fetch_file(open_session(), remote(bucket), tmp_path).read_bytes() == CONTENT
    assert 1 == bucket.asked["/a.zip"]


def test_what_an_earlier_call_left_counts_as_there(bucket: Bucket, tmp_path: Path):
    """The bytes of a transfer are those still to come."""
    described = remote(bucket)
    assert len(CONTENT) == bytes_to_come(described, tmp_path)
    for kept, to_come in ((1000, len(CONTENT) - 1000), (len(CONTENT) + 1, len(CONTENT))):
        (tmp_path / "a.zip.part").write_bytes(b"x" * kept)
        assert to_come == bytes_to_come(described, tmp_path)


def test_more_bytes_than_promised_are_not_taken(bucket: Bucket, tmp_path: Path):
    """A body over its promised size is cut off instead of filling the disk."""
    sent = []

    def endless() -> Iterator[bytes]:
        while len(sent) < 2000:
            sent.append(1 << 16)
            yield b"x" * (1 << 16)

    described = remote(bucket)
    bucket.habits["/a.zip"] = sending(endless())
    with pytest.raises(DataError, match="over the limit of 256,000 bytes"):
        fetch_file(open_session(), described, tmp_path / "got")
    assert len(sent) < 2000
    assert [] == list((tmp_path / "got").iterdir())


def test_the_second_address_serves_what_the_first_has_in_another_version(
    bucket: Bucket, tmp_path: Path
):
    """A mirror with wrong content gives way to one with the right content."""
    (bucket.folder / "old.zip").write_bytes(CONTENT[::-1])
    urls = (f"{bucket.url}/old.zip", f"{bucket.url}/a.zip")
    described = remote(bucket, urls=urls)
    assert CONTENT == fetch_file(open_session(), described, tmp_path).read_bytes()


def test_a_file_on_this_disk_is_read_in_its_place(bucket: Bucket, tmp_path: Path):
    """A file:// address is verified and neither copied nor asked of anyone."""
    described = remote(bucket)
    place = tmp_path / "a cow #1.zip"
    place.write_bytes(CONTENT)
    local = described.model_copy(update={"urls": (place.as_uri(), *described.urls)})
    assert place == fetch_file(open_session(), local, tmp_path / "got")
    place.write_bytes(CONTENT[::-1])
    assert tmp_path / "got/a.zip" == fetch_file(open_session(), local, tmp_path / "got")
    assert {"/a.zip": 1} == dict(bucket.asked)


def test_a_large_file_on_this_disk_is_checked_with_progress(
    bucket: Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
):
    """Reading 19 GB takes a minute, in which somebody wants to know what happens."""
    monkeypatch.setattr("bucolic.base.progress.INTERVAL_S", 0.0)
    with caplog.at_level(logging.INFO):
        place = (bucket.folder / "a.zip").as_uri()
        fetch_file(open_session(), remote(bucket, urls=(place,)), tmp_path / "got")
    said = [message for message in caplog.messages if message.startswith("checked a.zip 0.3 of")]
    assert " a second, 0 s left" in said[0]


def test_a_wrong_file_on_this_disk_is_told_so(tmp_path: Path):
    """Its address, what is wrong and where to mend it, in one line."""
    place = tmp_path / "a.zip"
    place.write_bytes(b"x")
    described = RemoteFile(name="a.zip", urls=(place.as_uri(),), size_bytes=2, sha256="0" * 64)
    with pytest.raises(DataError, match=r"1 bytes came, 2 were .*: mend its address or its digest"):
        fetch_file(open_session(), described, tmp_path / "got")


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
    monkeypatch.setattr("bucolic.fetching.http.BACKOFF_S", 0.0)
    with pytest.raises(TransientError) as caught:
        fetch_bytes(open_session(), ["http://127.0.0.1:9/b.jpg"])
    assert 1 == len(str(caught.value).splitlines())


def test_a_transfer_that_breaks_inside_the_body_is_tried_again(bucket: Bucket):
    """One reset in the middle of an image does not fail the stage."""
    (bucket.folder / "b.jpg").write_bytes(CONTENT)
    bucket.cut["/b.jpg"] = 1000
    assert fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"]) == CONTENT
    assert 2 == bucket.asked["/b.jpg"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 501, 502, 504, 507])
def test_an_answer_that_may_pass_is_tried_again(bucket: Bucket, status: int):
    """Each passing status is asked again to the last try, and ends in 75."""
    bucket.habits["/b.jpg"] = answering(status)
    with pytest.raises(AwayError, match=f"answers {status}") as caught:
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], tries=3)
    assert (75, 3) == (caught.value.exit_code, bucket.asked["/b.jpg"])


@pytest.mark.parametrize(
    ("status", "told"),
    [
        (404, "not_found"),
        (410, "not_found"),
        *((code, "refused") for code in (204, 206, 301, 304, 400, 401, 402, 403, 405, 407, 416)),
        *((code, "refused") for code in (409, 418, 421, 451)),
    ],
)
def test_any_other_answer_is_final(bucket: Bucket, status: int, told: str):
    """It is asked for once, and its status and reason make a row."""
    bucket.habits["/b.jpg"] = answering(status)
    with pytest.raises(NotThereError, match=f"b.jpg: the server answers {status}") as caught:
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"])
    assert (told, 1) == (caught.value.status, bucket.asked["/b.jpg"])


def test_addresses_that_lead_nowhere_are_final(bucket: Bucket):
    """A ring of redirects, an address that is none, a scheme nobody speaks: no second try."""
    bucket.habits["/ring.jpg"] = answering(302, Location="/ring.jpg")
    bucket.habits["/disk.jpg"] = answering(302, Location="file:///etc/hostname")
    bucket.habits["/odd.jpg"] = answering(302, Location="http://[")
    urls = [f"{bucket.url}/{name}.jpg" for name in ("ring", "disk", "odd")]
    for url in [*urls, "ftp://127.0.0.1/b.jpg", "http:///b.jpg", "http://[/b.jpg", "b.jpg"]:
        with pytest.raises(RefusedError) as caught:
            fetch_bytes(open_session(), [url])
        assert str(caught.value).startswith(f"{url}: ")
        assert 1 == len(str(caught.value).splitlines())


def test_a_name_that_does_not_resolve_may_pass():
    """A machine without network cannot tell a wrong name from one it cannot ask about."""
    with pytest.raises(AwayError):
        fetch_bytes(open_session(), ["http://no-such-host.invalid/b.jpg"], tries=1)


def test_a_body_over_the_limit_is_final_and_not_read_to_its_end(bucket: Bucket):
    """The limit is named, and the rest of the body is never taken."""
    sent = []

    def endless() -> Iterator[bytes]:
        while len(sent) < 2000:
            sent.append(1 << 16)
            yield b"x" * (1 << 16)

    bucket.habits["/b.jpg"] = sending(endless())
    with pytest.raises(NotThereError, match="over the limit of 1,000,000 bytes") as caught:
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], limit_bytes=1_000_000)
    assert "too_large" == caught.value.status
    assert len(sent) < 2000


def test_a_body_that_trickles_may_pass_and_holds_nobody(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """A file that takes longer than its limit of time is given up for now, amid its body."""
    monkeypatch.setattr(fetch, "IMAGE_LIMIT_S", 0.05)
    sent = []

    def trickle() -> Iterator[bytes]:
        while len(sent) < 200:
            time.sleep(0.02)
            sent.append(1)
            yield b"x"

    bucket.habits["/b.jpg"] = sending(trickle(), length=200)
    with pytest.raises(AwayError, match="it comes too slowly"):
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"])
    assert len(sent) < 200


def test_a_slow_address_takes_no_time_from_the_next(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """Each has the whole limit: a mirror is there for when the first is in trouble."""
    monkeypatch.setattr(fetch, "IMAGE_LIMIT_S", 0.5)
    (bucket.folder / "good.jpg").write_bytes(CONTENT)

    def trickle() -> Iterator[bytes]:
        for _ in range(100):
            time.sleep(0.02)
            yield b"x"

    bucket.habits["/slow.jpg"] = sending(trickle(), length=100)
    urls = [f"{bucket.url}/slow.jpg", f"{bucket.url}/good.jpg"]
    assert CONTENT == fetch_bytes(open_session(), urls)


def test_an_error_without_words_is_told_by_its_kind():
    """Some libraries raise such."""
    assert "ValueError" == http._reason(ValueError())


def test_a_server_that_says_nothing_may_pass(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    """A timeout is tried again to the last."""
    monkeypatch.setattr(http, "TIMEOUT_S", (1, 0.05))
    bucket.habits["/b.jpg"] = lambda _: time.sleep(0.3)
    with pytest.raises(AwayError, match="Read timed out"):
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], tries=2)
    assert 2 == bucket.asked["/b.jpg"]


def test_a_connection_that_is_reset_may_pass(bucket: Bucket):
    """A reset before the first byte is tried again to the last."""

    def reset(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True

    bucket.habits["/b.jpg"] = reset
    with pytest.raises(AwayError):
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], tries=2)
    assert 2 == bucket.asked["/b.jpg"]


def test_a_body_shorter_than_promised_may_pass(bucket: Bucket):
    """A length that does not hold is a broken transfer, tried to the last."""
    bucket.habits["/b.jpg"] = sending([b"x" * 10], length=500)
    with pytest.raises(AwayError, match="IncompleteRead"):
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"])
    assert RETRIES + 1 == bucket.asked["/b.jpg"]


def test_waits_grow_and_a_servers_wish_is_heard_up_to_a_minute(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
):
    """Each wait doubles with jitter; Retry-After lengthens it, in seconds or as a date."""
    monkeypatch.setattr(http, "BACKOFF_S", BACKOFF_S)
    for attempt in range(5):
        assert 0.5 * BACKOFF_S * 2**attempt <= wait_before(attempt, None)
        assert 1.5 * BACKOFF_S * 2**attempt >= wait_before(attempt, None)
    assert [30.0, LONGEST_WAIT_S] == [wait_before(0, 30.0), wait_before(0, 86_400.0)]
    heard = {}
    for said in ("7", "Wed, 21 Oct 2099 07:28:00 GMT", "soon", "9" * 5000):
        bucket.habits["/b.jpg"] = answering(503, Retry_After=said)
        with pytest.raises(AwayError) as caught:
            fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], tries=1)
        heard[said[:4]] = caught.value.retry_after_s
    assert (7.0, None, None) == (heard["7"], heard["soon"], heard["9999"])
    assert heard["Wed,"] > LONGEST_WAIT_S


def test_too_many_open_files_end_at_once(bucket: Bucket):
    """What this machine lacks is not tried again, and says what to do."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        with pytest.raises(
            TransientError, match="too many open files: raise `ulimit -n`"
        ) as caught:
            fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not isinstance(caught.value, AwayError)


def failing_to_connect(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """Let every connection fail with an error of the system; returns a list of those tried."""
    tried = []

    def connect(*_: object, **__: object) -> socket.socket:
        tried.append(number)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("urllib3.util.connection.create_connection", connect)
    return tried


@pytest.mark.parametrize(
    "number", [errno.ENOTCONN, errno.EAGAIN, errno.ENOLCK, errno.EPIPE, errno.EADDRNOTAVAIL]
)
def test_what_a_socket_says_is_no_word_about_disks(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, number: int
):
    """Numbers that mean this machine's disks and locks elsewhere are a server's that is away."""
    tried = failing_to_connect(monkeypatch, number)
    with pytest.raises(AwayError, match=r"^http://127.*b.jpg: "):
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], tries=2)
    assert [number] * 2 == tried


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.ENOBUFS, errno.ENFILE, errno.EIO]
)
def test_what_this_machine_lacks_for_a_transfer_is_not_tried_again(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, number: int
):
    """No server is to blame, and the stage ends there."""
    tried = failing_to_connect(monkeypatch, number)
    with pytest.raises(TransientError, match="and run the same command again") as caught:
        fetch_bytes(open_session(), [f"{bucket.url}/b.jpg"], tries=2)
    assert (False, [number]) == (isinstance(caught.value, AwayError), tried)


def test_a_certificate_that_does_not_hold_says_nothing_of_the_file(bucket: Bucket, tmp_path: Path):
    """No row, no second try: the address or the certificates are to be mended."""
    (bucket.folder / "b.jpg").write_bytes(b"picture")
    with (
        serving_securely(tmp_path, answering(404)) as (url, _),
        pytest.raises(UntrustedError, match="certificate") as caught,
    ):
        fetch_bytes(open_session(), [f"{url}/b.jpg"])
    assert 3 == caught.value.exit_code
    with serving_securely(tmp_path, answering(404)) as (url, _):
        urls = [f"{url}/b.jpg", f"{bucket.url}/b.jpg"]
        assert b"picture" == fetch_bytes(open_session(), urls)


def test_https_is_not_given_up_for_content_without_a_digest(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A redirect to http is refused, unless the source says that it may be."""
    (bucket.folder / "b.jpg").write_bytes(b"picture")
    with serving_securely(tmp_path, answering(302, Location=f"{bucket.url}/b.jpg")) as (
        url,
        certificate,
    ):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        with pytest.raises(RefusedError, match="it leads from https to http://127"):
            fetch_bytes(open_session(allow_http=False), [f"{url}/b.jpg"])
        assert 0 == bucket.asked["/b.jpg"]
        assert b"picture" == fetch_bytes(open_session(allow_http=True), [f"{url}/b.jpg"])

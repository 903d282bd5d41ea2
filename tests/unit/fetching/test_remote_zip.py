"""Single files out of an archive that stays on its server, each with one question."""

import io
import random
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bucolic.fetching import remote_zip
from bucolic.fetching.archives import BrokenError
from bucolic.fetching.http import RETRIES, AwayError, TooLongError
from bucolic.fetching.remote_zip import RemoteZip, open_remote_zip
from http_server import Bucket, served

LIMIT_BYTES = 100_000
PLACES = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kilobyte at a time."""
    monkeypatch.setattr(remote_zip, "BLOCK_BYTES", 1024)


def files() -> dict[str, bytes]:
    """Thirty files of bytes that do not pack, and one that does."""
    draw = random.Random(0)  # noqa: S311 - no secret
    made = {f"train2017/{n:012d}.jpg": draw.randbytes(5_000 + 100 * n) for n in range(30)}
    return {**made, "train2017/flat.jpg": bytes(50_000)}


def archive(packing: int = zipfile.ZIP_STORED) -> bytes:
    """A zip of them, written as a stream: sizes stand behind each file."""

    class Stream(io.BytesIO):
        def seekable(self) -> bool:
            return False

    buffer = Stream()
    with zipfile.ZipFile(buffer, "w", packing) as bundle:
        for name, content in files().items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def opened(bucket: Bucket, content: bytes) -> RemoteZip:
    """That archive, its list read."""
    found = open_remote_zip(served(bucket, content), connections=8)
    assert found is not None
    bucket.ranges.clear()
    return found


def member(bundle: RemoteZip, number: int) -> zipfile.ZipInfo:
    """One of the thirty."""
    return bundle.bundle.getinfo(f"train2017/{number:012d}.jpg")


@pytest.mark.parametrize("packing", PLACES)
def test_each_file_comes_with_one_question_and_no_more_than_its_bytes(bucket: Bucket, packing: int):
    """From several threads, packed or stored."""
    found = opened(bucket, archive(packing))
    with ThreadPoolExecutor(8) as pool:
        contents = list(pool.map(lambda m: found.read(m, LIMIT_BYTES), found.bundle.infolist()))
    assert contents == list(files().values())
    assert len(bucket.ranges) == len(files())
    spans = [asked.removeprefix("bytes=").split("-") for asked in bucket.ranges]
    assert sum(int(last) - int(first) + 1 for first, last in spans) == found.bundle.start_dir


def test_the_list_takes_few_bytes(bucket: Bucket):
    """Of 245 kB, the last few."""
    assert open_remote_zip(served(bucket, archive())) is not None
    spans = [asked.removeprefix("bytes=").split("-") for asked in bucket.ranges]
    assert sum(int(last) - int(first) + 1 for first, last in spans) < 20_000


def test_what_fails_for_now_is_asked_for_again(bucket: Bucket):
    """As often as is said; then it is for now."""
    found = opened(bucket, archive())
    bucket.busy["/a.zip"] = 1
    assert found.read(member(found, 3), LIMIT_BYTES) == files()["train2017/000000000003.jpg"]
    bucket.busy["/a.zip"] = RETRIES
    with pytest.raises(AwayError, match="503"):
        found.read(member(found, 3), LIMIT_BYTES, tries=1)


def test_a_file_that_was_changed_on_its_way_is_broken(bucket: Bucket):
    """Its checksum stands in the archive's list."""
    content = bytearray(archive())
    content[300] ^= 1
    found = opened(bucket, bytes(content))
    with pytest.raises(BrokenError, match="Bad CRC-32"):
        found.read(member(found, 0), LIMIT_BYTES)
    assert found.read(member(found, 1), LIMIT_BYTES) == files()["train2017/000000000001.jpg"]


@pytest.mark.parametrize("packing", PLACES)
@pytest.mark.parametrize("lie", ["start", "packed", "unpacked"])
def test_a_list_that_lies_breaks_the_file_it_lies_about(bucket: Bucket, packing: int, lie: str):
    """Where it begins, or how long it is; others come."""
    found = opened(bucket, archive(packing))
    wrong = member(found, 3)
    if lie == "start":
        found._ends[wrong.header_offset + 9] = found._ends[wrong.header_offset]
        wrong.header_offset += 9
    elif lie == "packed":
        wrong.compress_size -= 700
    else:
        wrong.file_size -= 700
    with pytest.raises(BrokenError):
        found.read(wrong, LIMIT_BYTES)
    assert found.read(member(found, 4), LIMIT_BYTES) == files()["train2017/000000000004.jpg"]


def test_a_file_over_the_limit_is_not_asked_for(bucket: Bucket):
    """Packed, or unpacked: a bomb is told by its size."""
    found = opened(bucket, archive(zipfile.ZIP_DEFLATED))
    with pytest.raises(TooLongError):
        found.read(member(found, 3), 1_000)
    assert not bucket.ranges
    with pytest.raises(TooLongError):
        found.read(found.bundle.getinfo("train2017/flat.jpg"), 10_000)


def test_an_archive_that_is_another_by_now_is_for_now(bucket: Bucket):
    """It says nothing of the file; the next run looks at the list again."""
    found = opened(bucket, archive())
    (bucket.folder / "a.zip").write_bytes(archive() + b"more")
    with pytest.raises(AwayError, match="it sends others"):
        found.read(member(found, 3), LIMIT_BYTES)
    bucket.ignores_ranges = True
    with pytest.raises(AwayError):
        found.read(member(found, 3), LIMIT_BYTES)


def test_a_server_that_is_away_is_for_now(bucket: Bucket):
    """It may have ranges later, and all of the archive may be large."""
    remote = served(bucket, archive())
    bucket.busy["/a.zip"] = RETRIES + 1
    with pytest.raises(AwayError, match="503"):
        open_remote_zip(remote)
    assert open_remote_zip(remote) is not None


def test_what_is_odd_is_left_to_the_whole_archive(bucket: Bucket, tmp_path: Path):
    """No ranges, another size, no archive, an address where somebody can stand between."""
    content = archive()
    assert open_remote_zip(served(bucket, content, size_bytes=len(content) + 1)) is None
    assert open_remote_zip(served(bucket, bytes(5_000))) is None
    torn = bytearray(content)
    torn[-10:-6] = struct.pack("<L", 1 << 30)  # where the list begins
    assert open_remote_zip(served(bucket, bytes(torn))) is None
    assert open_remote_zip(served(bucket, content, urls=("http://far.example/a.zip",))) is None
    assert open_remote_zip(served(bucket, content, urls=((tmp_path / "a.zip").as_uri(),))) is None
    bucket.ignores_ranges = True
    assert open_remote_zip(served(bucket, content)) is None

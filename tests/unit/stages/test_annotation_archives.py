"""The annotations stage: out of a verified archive, up to a limit, or out of a folder."""

import hashlib
import json
import zipfile
from pathlib import Path

import pytest

from bucolic.base.errors import DataError, TransientError
from bucolic.base.runtime import Runtime
from bucolic.stages import annotations
from bucolic.stages.annotations import get_annotations
from bucolic.stages.filter import FilterConfig
from http_server import Bucket, answering

MEMBER = "annotations/captions_train2017.json"
CAPTIONS = [{"id": i, "image_id": 1, "caption": "a cow"} for i in range(1000)]
CONTENT = json.dumps(
    {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 8, "height": 8}],
        "annotations": CAPTIONS,
    }
).encode()


def served(bucket: Bucket, root: Path, content: bytes | None = None, **changes: object) -> Path:
    """A data set whose annotation archive is on the local server."""
    path = bucket.folder / "a.zip"
    if content is None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(MEMBER, CONTENT)
    else:
        path.write_bytes(content)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    known = {"name": "a.zip", "urls": [f"{bucket.url}/a.zip"], "sha256": digest}
    remote = {**known, "size_bytes": path.stat().st_size, **changes}
    root.mkdir(exist_ok=True)
    source = {"kind": "coco", "annotations": remote, "images": {}}
    (root / "source.json").write_text(json.dumps(source))
    return root


def get(root: Path, *categories: str) -> Path:
    """Run the stage beside the data set; returns its out."""
    out, runtime = root.parent / "annotations", Runtime(root.parent / "work", root.parent / "cache")
    theme = FilterConfig(keywords=("thing",), categories=categories)
    get_annotations(root, out, filter=theme, runtime=runtime)
    return out


def test_the_archive_is_fetched_and_unpacked(bucket: Bucket, tmp_path: Path):
    """The files come out as they were packed."""
    out = get(served(bucket, tmp_path / "set"))
    assert {"captions_train2017.json": CONTENT} == {p.name: p.read_bytes() for p in out.iterdir()}


def test_a_member_over_the_limit_is_refused_unread(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A zip bomb is one line that names the member and the limit, and nothing is written."""
    monkeypatch.setattr(annotations, "MEMBER_LIMIT_BYTES", len(CONTENT) - 1)
    said = f"{MEMBER}: over the limit of {len(CONTENT) - 1:,} bytes unpacked: mend the archive"
    with pytest.raises(DataError, match=said) as caught:
        get(served(bucket, tmp_path / "set"))
    assert 3 == caught.value.exit_code
    assert not (tmp_path / "annotations").exists()


def test_a_broken_member_is_one_line(bucket: Bucket, tmp_path: Path):
    """An archive that is broken at its source is told so, with the member."""
    served(bucket, tmp_path / "set")
    content = bytearray((bucket.folder / "a.zip").read_bytes())
    content[len(MEMBER) + 40] ^= 255
    root = served(bucket, tmp_path / "set", bytes(content))
    with pytest.raises(DataError, match=f"{MEMBER} cannot be unpacked: .*: mend the archive"):
        get(root)


def test_an_encrypted_member_is_told_as_such(bucket: Bucket, tmp_path: Path):
    """It says what to do, and nothing of Python's objects."""
    served(bucket, tmp_path / "set")
    content = bytearray((bucket.folder / "a.zip").read_bytes())
    content[content.index(b"PK\x03\x04") + 6] |= 1  # the flags, in the file's own header
    content[content.index(b"PK\x01\x02") + 8] |= 1  # and in the archive's list
    root = served(bucket, tmp_path / "set", bytes(content))
    with pytest.raises(DataError, match=f"{MEMBER} is encrypted: pack the archive without a") as e:
        get(root)
    assert "ZipInfo" not in str(e.value)


def test_a_torn_archive_with_the_right_digest_is_not_fetched_again(bucket: Bucket, tmp_path: Path):
    """Another download would be the same: the advice is to name another archive."""
    served(bucket, tmp_path / "set")
    torn = (bucket.folder / "a.zip").read_bytes()[:-30]
    root = served(bucket, tmp_path / "set", torn)
    with pytest.raises(DataError, match=r"no whole zip archive .*: name another one there"):
        get(root)


def test_a_busy_server_may_pass_and_a_refusal_does_not(bucket: Bucket, tmp_path: Path):
    """503 ends in 75; 403 in 3, with the address and where to mend it."""
    root = served(bucket, tmp_path / "set")
    bucket.habits["/a.zip"] = answering(503)
    with pytest.raises(TransientError, match="answers 503"):
        get(root)
    bucket.habits["/a.zip"] = answering(403)
    said = "a.zip: the server answers 403: mend its address or its digest in source.json"
    with pytest.raises(DataError, match=said) as caught:
        get(root)
    assert 3 == caught.value.exit_code


def test_a_disk_in_trouble_may_pass(tmp_path: Path, coco_folder: Path):
    """An annotation file that the disk will not give is no fault of the data."""
    path = coco_folder / "annotations/captions_train2017.json"
    path.unlink()
    path.symlink_to("/proc/self/mem")  # whose first page nobody can read
    with pytest.raises(TransientError, match=r"read or written at .*/captions_train2017.json: l"):
        get(coco_folder)


def test_an_annotation_file_that_cannot_be_read_is_one_line(coco_folder: Path):
    """A folder in the file's place is named."""
    path = coco_folder / "annotations/instances_train2017.json"
    path.unlink(missing_ok=True)
    path.mkdir()
    with pytest.raises(DataError, match=f"{path} is no file: mend it"):
        get(coco_folder)

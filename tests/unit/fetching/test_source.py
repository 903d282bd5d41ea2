"""What source.json says, and which of its addresses are used."""

import json
from pathlib import Path

import pytest

from bucolic.base.errors import DataError
from bucolic.fetching.source import CocoSource, ImageSource, read_source
from project import ROOT

SECURE, PLAIN = "https://a/{file_name}", "http://b/{file_name}"


def test_coco_is_named_with_sizes_digests_and_sealed_addresses():
    """The shipped source has what COCO's files are known by; single images come over https."""
    source = read_source(ROOT / "datasets/coco2017")
    assert isinstance(source, CocoSource)
    assert (252_907_541, "113a836d") == (
        source.annotations.size_bytes,
        source.annotations.sha256[:8],
    )
    archives = {split: about.archive for split, about in source.images.items()}
    sizes = {split: archive.size_bytes for split, archive in archives.items() if archive}
    assert {"train2017": 19_336_861_798, "val2017": 815_585_330} == sizes
    for split, about in source.images.items():
        assert not about.allow_http
        one = f"https://s3.amazonaws.com/images.cocodataset.org/{split}/{{file_name}}"
        assert (one,) == about.urls == about.trusted_urls


@pytest.mark.parametrize(
    ("urls", "allow_http", "used"),
    [
        ((SECURE, PLAIN), False, (SECURE,)),
        ((SECURE, PLAIN), True, (SECURE, PLAIN)),
        ((SECURE, PLAIN.replace("http", "HTTP")), False, (SECURE,)),
        ((PLAIN, SECURE), False, (PLAIN, SECURE)),
        ((PLAIN, SECURE, PLAIN), False, (PLAIN, SECURE)),
        ((PLAIN,), False, (PLAIN,)),
    ],
)
def test_no_image_falls_back_from_https_to_http(
    urls: tuple[str, ...], allow_http: bool, used: tuple[str, ...]
):
    """An address over http stands in for one over https only where the source says so."""
    assert used == ImageSource(urls=urls, allow_http=allow_http).trusted_urls


def test_a_split_that_nobody_knows_is_named_as_it_stands(tmp_path: Path):
    """The key of source.json, and nothing of the library that reads it."""
    remote = {"name": "a.zip", "urls": ["http://a/a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    source = {"kind": "coco", "annotations": remote, "images": {"train": {}}}
    (tmp_path / "source.json").write_text(json.dumps(source))
    with pytest.raises(DataError, match=r"source.json: coco.images.train: Input should be 'train2"):
        read_source(tmp_path)


def test_an_address_of_a_single_image_holds_its_name(tmp_path: Path):
    """One address for all images is refused where it stands."""
    remote = {"name": "a.zip", "urls": ["http://a/a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    images = {"train2017": {"urls": ["http://a/1.jpg"]}}
    source = {"kind": "coco", "annotations": remote, "images": images}
    (tmp_path / "source.json").write_text(json.dumps(source))
    said = "images.train2017.urls.0: .*with the field {file_name}"
    with pytest.raises(DataError, match=said):
        read_source(tmp_path)


@pytest.mark.parametrize(
    "url",
    ["https://[cdn/a.zip", "https://a:port/a.zip", "ftp://a/a.zip", "a.zip", "https:///a.zip"],
)
@pytest.mark.parametrize("place", ["annotations", "images"])
def test_what_is_no_address_is_refused_where_it_stands(tmp_path: Path, url: str, place: str):
    """Before anything is asked for, in one line."""
    remote = {"name": "a.zip", "urls": ["https://a/a.zip"], "size_bytes": 1, "sha256": "0" * 64}
    images: dict[str, object] = {"urls": ["https://a/{file_name}"]}
    if place == "annotations":
        remote["urls"] = [url]
    else:
        images["urls"] = [url.replace("a.zip", "{file_name}")]
    source = {"kind": "coco", "annotations": remote, "images": {"train2017": images}}
    (tmp_path / "source.json").write_text(json.dumps(source))
    with pytest.raises(
        DataError, match=rf"{place}.*urls.0: Input should be an http, https or file"
    ):
        read_source(tmp_path)

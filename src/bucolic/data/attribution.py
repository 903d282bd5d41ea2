"""data/attribution/: who made the chosen photographs, and what their licences ask for.

images.parquet, format version 1, a row an image, ordered by image id, and ATTRIBUTION.md, the same
to be read:

| column | type | meaning |
|---|---|---|
| image_id | int64 | COCO's id |
| file_name | string | e.g. 000000000139.jpg |
| licence | int32, nullable | licence id of the annotation file |
| licence_name, licence_url | string | as the annotation file names it; may be empty |
| flickr_url | string | the file at its author's; may be empty |
| page | string | Flickr's page of the photograph, which names the author; may be empty |
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bucolic.base.files import replacing
from bucolic.data.captions import Licence
from bucolic.data.tables import iterate_rows, write_records

VERSION = "1"
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("file_name", pa.string()),
        ("licence", pa.int32()),
        ("licence_name", pa.string()),
        ("licence_url", pa.string()),
        ("flickr_url", pa.string()),
        ("page", pa.string()),
    ],
    metadata={"bucolic.format": "attribution", "bucolic.version": VERSION},
)
UNTOLD = Licence("", "")
_PAGE = re.compile(r"https?://[^\s\\|<>()\[\]`]+")
# Flickr names a file by its photograph's number, and finds the page by that alone.
_FLICKR_FILE = re.compile(r"https?://[^/]*static\.?flickr\.com/.*/(\d+)_[^/]*", re.IGNORECASE)


def write_attribution(folder: Path, images: pa.Table, licences: Mapping[int, Licence]) -> None:
    """Write both files of the chosen images.

    Args:
        folder: to write.
        images: columns of data/captions.py, ordered by image id.
        licences: what the ids mean.
    """
    with replacing(folder) as temporary:
        temporary.mkdir()
        write_records(temporary / "images.parquet", SCHEMA, _rows(images, licences))
        with (temporary / "ATTRIBUTION.md").open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{line}\n" for line in _page(len(images), _rows(images, licences)))


def page_of(flickr_url: str) -> str:
    """Flickr's page of a photograph, from the address of its file; empty where that is another."""
    found = _FLICKR_FILE.fullmatch(flickr_url)
    return f"https://www.flickr.com/photo.gne?id={found[1]}" if found else ""


def _rows(images: pa.Table, licences: Mapping[int, Licence]) -> Iterator[dict[str, Any]]:
    return (_row(record, licences) for record in iterate_rows(images))


def _row(record: Mapping[str, Any], licences: Mapping[int, Licence]) -> dict[str, Any]:
    licence = licences.get(record["licence"], UNTOLD)
    return {name: record[name] for name in ("image_id", "file_name", "licence", "flickr_url")} | {
        "licence_name": licence.name,
        "licence_url": licence.url,
        "page": page_of(record["flickr_url"]),
    }


def _page(count: int, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield f"# Attribution of {count} images"
    yield ""
    yield "Each photograph belongs to its author, whom its page names. The licence says what may be"
    yield "done with it; captions and other annotations of COCO are CC BY 4.0."
    yield ""
    yield "| image | licence | page |"
    yield "|---|---|---|"
    for row in rows:
        name = _cell(row["licence_name"] or ("" if row["licence"] is None else str(row["licence"])))
        address = _address(row["licence_url"])
        licence = f"[{name}]({address})" if name and address else name or "not stated"
        page = _address(row["page"] or row["flickr_url"])
        yield f"| {_cell(row['file_name'])} | {licence} | {page} |"


def _address(url: str) -> str:
    """An address of others' that breaks no table and opens nothing but a page; else empty."""
    return url if _PAGE.fullmatch(url) else ""


def _cell(text: str) -> str:
    """Text of others' that breaks no table."""
    return re.sub(r"([\\|\[\]<>`*_])", r"\\\1", " ".join(text.split()))

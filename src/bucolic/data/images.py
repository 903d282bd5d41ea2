"""data/images/index.parquet: which file each chosen image is, or why there is none.

The files themselves are in the store of originals, see data/original_store.py. Format version 3,
one row for every image selected, ordered by image id:

| column | type | meaning |
|---|---|---|
| image_id | int64 | COCO's id |
| status | string | ok or why not, see below |
| reason | string | what was wrong; empty where ok |
| size_bytes | int64, nullable | of the file |
| sha256 | string, nullable | of the file's bytes |
| mode | string, nullable | Pillow's mode of the file (RGB, L, CMYK...) before conversion |

| status | the file |
|---|---|
| ok | can be shown as data/display.py says, and is of the annotated size where there is one |
| not_found | is not there |
| refused | is not served: a server's final answer, or an address that leads nowhere |
| corrupt | breaks off, or is no picture |
| wrong_size | is of another size, as stored and as shown |
| too_large | is over a limit, which the reason names |
| unsupported | may be sound, but has no one faithful picture here: its format, samples or colours |
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
from PIL import Image

from bucolic.base.errors import DataError
from bucolic.data.display import (
    Made,
    Make,
    UnshownError,
    exchanges_sides,
    made_of,
    open_picture,
    show,
    stored_size,
)
from bucolic.data.tables import iterate_images, write_records

VERSION = "3"
SHA256 = re.compile("[0-9a-f]{64}")
Status = Literal["ok", "not_found", "refused", "corrupt", "wrong_size", "too_large", "unsupported"]
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("mode", pa.string()),
    ],
    metadata={"bucolic.format": "images", "bucolic.version": VERSION},
)


@dataclass(frozen=True, slots=True)
class ImageRow:
    """One row of the index."""

    image_id: int
    status: Status
    reason: str = ""
    size_bytes: int | None = None
    sha256: str | None = None
    mode: str | None = None


@dataclass(frozen=True)
class Checked:
    """What a look at an image file found; where it is ok, what was made of its picture."""

    status: Status
    reason: str = ""
    mode: str | None = None
    made: Any = field(default=None, compare=False, repr=False)


def check_image(
    content: bytes,
    width: int | None,
    height: int | None,
    make: Make[Any] = lambda *_: None,
    *,
    decode_px: int | None = None,
) -> Checked:
    """Compare a file's size with the annotation's, in pixels, and decode it to the last pixel.

    Some tools annotate a turned photograph's size as it is stored, some as it is shown: both are
    right. What is neither is told from the header, before a pixel is decoded. A side that the
    annotation does not give is not compared.

    Args:
        content: of the file.
        width: as annotated.
        height: as annotated.
        make: see `bucolic.data.display.made_of`.
        decode_px: likewise; the check is as thorough.
    """
    try:
        with open_picture(content) as image:
            stored, mode = stored_size(image), image.mode
            wrong = f"{stored[0]}x{stored[1]}, annotated {_told(width)}x{_told(height)}"
            if not any(_fits(size, width, height) for size in (stored, stored[::-1])):
                return Checked("wrong_size", wrong)
            made = made_of(image, make, decode_px)
            shown = stored[::-1] if exchanges_sides(image) else stored
    except UnshownError as error:
        return Checked(error.status, str(error))
    if not any(_fits(size, width, height) for size in (stored, shown)):
        return Checked("wrong_size", wrong)
    return Checked("ok", mode=mode, made=made)


def check_header(content: bytes, width: int | None, height: int | None) -> Checked | None:
    """What `check_image` finds in a file that is known to be sound, out of its header alone.

    None where that takes a decoded picture: its sides are the annotation's, and exchanged.
    """
    try:
        with open_picture(content) as image:
            fits = _fits(stored_size(image), width, height)
            return Checked("ok", mode=image.mode) if fits else None
    except UnshownError:
        return None


def _fits(size: tuple[int, int], width: int | None, height: int | None) -> bool:
    return width in (None, size[0]) and height in (None, size[1])


def _told(side: int | None) -> str:
    return "?" if side is None else str(side)


def decode(content: bytes) -> Image.Image:
    """Decode an image file to the RGB picture that a viewer shows, see data/display.py.

    Raises:
        UnshownError: it is broken, over a limit, or cannot be shown faithfully.
        TransientError: there is no memory for it now.
    """
    with open_picture(content) as image:
        return show(image)


def decoded(content: bytes, make: Make[Made], decode_px: int | None = None) -> Made:
    """What `make` makes of `decode(content)`; see `bucolic.data.display.made_of`."""
    with open_picture(content) as image:
        return made_of(image, make, decode_px)


def write_index(folder: Path, rows: Iterable[ImageRow]) -> None:
    """Write index.parquet, ordered by image id."""
    ordered = sorted(rows, key=lambda row: row.image_id)
    write_records(folder / "index.parquet", SCHEMA, map(asdict, ordered))


def read_index(folder: Path) -> list[ImageRow]:
    """The index as a list; see `iterate_index`."""
    return list(iterate_index(folder))


def iterate_index(folder: Path) -> Iterator[ImageRow]:
    """Read the index row by row; DataError where it is missing, of another format, or edited."""
    path = folder / "index.parquet"
    for record in iterate_images(path, "images", VERSION):
        row = ImageRow(**record)
        if not (row.sha256 is None or SHA256.fullmatch(row.sha256)):
            raise DataError(
                f"{path}: image {row.image_id}: {row.sha256!r} is no sha256: "
                "run the images stage again"
            )
        yield row

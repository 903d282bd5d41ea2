"""data/images/: the chosen images as they came, in tars, and a row for each in index.parquet.

`images-NNNNNN.tar` holds up to 1,000 original files each, ordered by image id, as COCO names them
below their source split, in the form of `names.canonical`; a name that is long or not ASCII stands
in a PAX header. index.parquet, format version 2, one row for every image selected:

| column | type | meaning |
|---|---|---|
| image_id | int64 | COCO's id |
| status | string | ok or why not, see below |
| reason | string | what was wrong; empty where ok |
| tar | string, nullable | which archive holds it |
| offset, size_bytes | int64, nullable | where the file's bytes are in that archive |
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

import io
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
from PIL import Image

from bucolic.base.errors import DataError
from bucolic.data.display import UnshownError, open_picture, show, stored_size
from bucolic.data.tables import read_table, write_table

VERSION = "2"
IMAGES_PER_TAR = 1000
TAR_NAME = re.compile(r"images-\d{6,}\.tar")
Status = Literal["ok", "not_found", "refused", "corrupt", "wrong_size", "too_large", "unsupported"]
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("tar", pa.string()),
        ("offset", pa.int64()),
        ("size_bytes", pa.int64()),
        ("sha256", pa.string()),
        ("mode", pa.string()),
    ],
    metadata={"bucolic.format": "images", "bucolic.version": VERSION},
)


@dataclass(frozen=True)
class ImageRow:
    """One row of the index."""

    image_id: int
    status: Status
    reason: str = ""
    tar: str | None = None
    offset: int | None = None
    size_bytes: int | None = None
    sha256: str | None = None
    mode: str | None = None


@dataclass(frozen=True)
class Checked:
    """An image file's bytes with what a full decode found."""

    status: Status
    reason: str = ""
    mode: str | None = None


def check_image(content: bytes, width: int | None, height: int | None) -> Checked:
    """Compare a file's size with the annotation's, in pixels, and decode it to the last pixel.

    Some tools annotate a turned photograph's size as it is stored, some as it is shown: both are
    right. What is neither is told from the header, before a pixel is decoded. A side that the
    annotation does not give is not compared.
    """
    try:
        with open_picture(content) as image:
            stored, mode = stored_size(image), image.mode
            wrong = f"{stored[0]}x{stored[1]}, annotated {_told(width)}x{_told(height)}"
            if not any(_fits(size, width, height) for size in (stored, stored[::-1])):
                return Checked("wrong_size", wrong)
            shown = show(image).size
    except UnshownError as error:
        return Checked(error.status, str(error))
    if not any(_fits(size, width, height) for size in (stored, shown)):
        return Checked("wrong_size", wrong)
    return Checked("ok", mode=mode)


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


class TarSequence:
    """Writes files into images-NNNNNN.tar archives with fixed metadata, and says where they are."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._tar: tarfile.TarFile | None = None

    def add(self, name: str, content: bytes) -> tuple[str, int]:
        """Append a file; returns the archive's name and the offset of the file's first byte."""
        if self._count % IMAGES_PER_TAR == 0:
            self._next_tar()
        assert self._tar is not None
        self._count += 1
        member = tarfile.TarInfo(name)
        member.size = len(content)
        # One block, and more before it where the name is long or not ASCII.
        header = member.tobuf(tarfile.PAX_FORMAT)
        start = self._tar.offset + len(header)
        self._tar.addfile(member, io.BytesIO(content))
        return Path(str(self._tar.name)).name, start

    def close(self) -> None:
        """Finish the last archive."""
        if self._tar is not None:
            self._tar.close()

    def _next_tar(self) -> None:
        self.close()
        path = self._folder / f"images-{self._count // IMAGES_PER_TAR:06d}.tar"
        self._tar = tarfile.TarFile(path, "w", format=tarfile.PAX_FORMAT)


def write_index(folder: Path, rows: Iterable[ImageRow]) -> None:
    """Write index.parquet, ordered by image id."""
    records = [asdict(row) for row in sorted(rows, key=lambda row: row.image_id)]
    write_table(folder / "index.parquet", pa.Table.from_pylist(records, schema=SCHEMA))


def read_index(folder: Path) -> list[ImageRow]:
    """Read index.parquet; DataError where it is missing, of another format, or edited."""
    table = read_table(folder / "index.parquet", "images", VERSION)
    rows = [ImageRow(**record) for record in table.to_pylist()]
    if strange := [r for r in rows if r.tar is not None and not TAR_NAME.fullmatch(r.tar)]:
        raise DataError(
            f"{folder / 'index.parquet'}: image {strange[0].image_id}: {strange[0].tar!r} is not "
            "the name of one of its tars: run the images stage again"
        )
    return rows


def read_contents(folder: Path, rows: Sequence[ImageRow]) -> Iterator[tuple[ImageRow, bytes]]:
    """Yield the bytes of each row that is ok, opening each archive once for rows in order."""
    name, file = None, None
    try:
        for row in rows:
            if row.tar is None or row.offset is None or row.size_bytes is None:
                continue
            if row.tar != name:
                if file is not None:
                    file.close()
                name, file = row.tar, _open_tar(folder / row.tar)
            assert file is not None
            file.seek(row.offset)
            yield row, file.read(row.size_bytes)
    finally:
        if file is not None:
            file.close()


def _open_tar(path: Path) -> io.BufferedReader:
    try:
        return path.open("rb")
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the images stage again") from None

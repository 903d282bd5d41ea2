"""Square pictures: how an original is cut, scaled and coded, and the store that keeps each once.

    .cache/squares/<fingerprint of the framing>/

holds them in packs (data/packs.py), named by the sha256 of the original and what of it is looked
at. The stage that checks an original makes its square out of the same decode; whoever packs it
reads it here, and makes it again where it is not there or not whole.
"""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import PIL
from PIL import Image
from pydantic import Field

from bucolic.base.files import fingerprint
from bucolic.base.section import Section
from bucolic.data.display import VERSION as DISPLAY_VERSION
from bucolic.data.display import Size, middle
from bucolic.data.packs import Packs

CODERS: dict[str, dict[str, Any]] = {
    "png": {"compress_level": 3},
    "jpeg": {"quality": 95, "subsampling": 0},
    "webp": {"lossless": True, "method": 2},
}
# Of 80 photographs of COCO, squares out of files decoded at 1.5 times their size are at 45 dB to
# those of whole ones on average, at 37.9 dB at least.
DECODED_SIZES = 1.5
# To be raised with any change of a cut, of scaling or of coding: what was kept is not used again.
VERSION = 1
COMPARED_PX = 64  # of squares that show whether two originals are one picture


class Subject(NamedTuple):
    """Where a picture shows what it was chosen for.

    Attributes:
        x: of its centre, in pixels of the annotated size.
        y: likewise.
        width: of the picture, as annotated, in pixels.
        height: likewise.
    """

    x: float
    y: float
    width: int
    height: int


class Cropping(Section):
    """What of an original is looked at.

    Attributes:
        crop: "centre" cuts the square that the shorter side allows about the centre, "subject" as
            near as the picture goes to what filter.categories names, where COCO's boxes tell where
            that is.
    """

    crop: Literal["centre", "subject"] = "centre"

    def cut(self, picture: Image.Image, subject: Subject | None) -> Image.Image:
        """The part of a decoded picture of which a centre square is taken."""
        if self.crop == "centre" or subject is None:
            return middle(picture)
        return _square_about(subject, picture)

    def name_of(self, digest: str, subject: Subject | None) -> str:
        """One word for an original, by its sha256, and what of it is looked at."""
        if self.crop == "centre" or subject is None:
            return digest
        about = (subject.x, subject.y, subject.width, subject.height, VERSION)
        return "-".join([digest, *map(str, about)])


class Framing(Cropping):
    """How an original becomes a square picture.

    Attributes:
        size_px: side of a picture, in pixels; dlfp takes 64 or 128 alone.
        format: format of a picture's file; PNG and WebP are lossless, JPEG is of quality 95 with
            whole colours.
        scaled_decode: whether a JPEG is decoded at the least of 1/1, 1/2, 1/4 and 1/8 of its size
            that is 1.5 times as large as the square, and as what is compared: faster, and to the
            eye the same.
    """

    size_px: int = Field(default=64, ge=16, le=512, multiple_of=16)
    format: Literal["png", "jpeg", "webp"] = "png"
    scaled_decode: bool = False

    @classmethod
    def of(cls, section: "Framing") -> "Framing":
        """The framing in a section that says more."""
        return Framing(**{name: getattr(section, name) for name in Framing.model_fields})

    @property
    def decode_px(self) -> int | None:
        """Least shorter side that a decoded original must have; None for its full size."""
        return int(DECODED_SIZES * max(self.size_px, COMPARED_PX)) if self.scaled_decode else None

    def file_of(
        self, picture: Image.Image, subject: Subject | None, whole: Size | None = None
    ) -> bytes:
        """The coded square of a decoded RGB picture; `whole` as in `made_of`."""
        part = self.cut(picture, subject)
        square = to_square(part, self.size_px, whole if part is picture else None)
        buffer = io.BytesIO()
        square.save(buffer, self.format.upper(), **CODERS[self.format])
        return buffer.getvalue()


# Its crop does not hang on what is annotated, and its format loses nothing.
COMPARED = Framing(size_px=COMPARED_PX)


class SquareStore:
    """The squares of one framing below one cache. Safe to call from threads and processes.

    Attributes:
        folder: where they are.
    """

    def __init__(self, cache: Path, framing: Framing, decode_px: int | None) -> None:
        """Open the store.

        Args:
            cache: folder for content that any run may reuse.
            framing: of the squares.
            decode_px: at which originals are decoded, see `bucolic.data.display.made_of`.
        """
        self._framing = framing
        about = Framing.of(framing).model_dump(exclude={"scaled_decode"}) | {"decode_px": decode_px}
        # Another Pillow may scale and code to other bytes.
        made_by = [about, VERSION, DISPLAY_VERSION, PIL.__version__]
        self.folder = cache / "squares" / fingerprint(made_by)
        self._packs = Packs(self.folder)

    def make(self, picture: Image.Image, whole: Size, subject: Subject | None) -> bytes:
        """The square of a decoded picture, as a file; nothing is kept."""
        return self._framing.file_of(picture, subject, whole)

    def add(self, digest: str, subject: Subject | None, content: bytes) -> None:
        """Keep what `make` made of an original, given by its sha256."""
        self._packs.add(self._framing.name_of(digest, subject), content)

    def holds(self, digest: str, subject: Subject | None) -> bool:
        """Whether the square was made before, so that its original is known to be sound."""
        return self._packs.holds(self._framing.name_of(digest, subject))

    def find(self, digest: str, subject: Subject | None) -> bytes | None:
        """The square of an original; None where it is not there, or not whole."""
        return self._packs.find(self._framing.name_of(digest, subject))


class Squares:
    """What is made of each original in one decode: the square that is packed, and that compared.

    Attributes:
        decode_px: at which originals are decoded, see `bucolic.data.display.made_of`.
        packed: the squares that go into shards.
        compared: those that show whether two originals are one picture.
        stores: both, which are one where pictures are packed as they are compared.
    """

    def __init__(self, cache: Path, framing: Framing) -> None:
        self.decode_px = framing.decode_px
        self.packed = SquareStore(cache, Framing.of(framing), self.decode_px)
        compared = SquareStore(cache, COMPARED, self.decode_px)
        self.compared = self.packed if compared.folder == self.packed.folder else compared
        self.stores = tuple(dict.fromkeys((self.packed, self.compared)))

    def hold(self, digest: str, subject: Subject | None) -> bool:
        """Whether both were made before."""
        return all(store.holds(digest, subject) for store in self.stores)

    def make(self, picture: Image.Image, whole: Size, subject: Subject | None) -> list[bytes]:
        """Those of a decoded picture, in the order of `stores`; nothing is kept."""
        return [store.make(picture, whole, subject) for store in self.stores]

    def add(self, digest: str, subject: Subject | None, made: Sequence[bytes]) -> None:
        """Keep what `make` made, but what is kept already."""
        for store, content in zip(self.stores, made, strict=True):
            if not store.holds(digest, subject):
                store.add(digest, subject, content)


def _square_about(subject: Subject, picture: Image.Image) -> Image.Image:
    """The largest square of a picture whose centre is as near to the subject as can be.

    A picture that is shown on its other side than it was annotated keeps its middle: which way it
    was turned is not known here.
    """
    if (picture.width < picture.height) != (subject.width < subject.height):
        return middle(picture)
    side = min(picture.size)
    shares = subject.x / subject.width, subject.y / subject.height
    left, top = (
        round(min(max(share * length - side / 2, 0), length - side))
        for share, length in zip(shares, picture.size, strict=True)
    )
    return picture.crop((left, top, left + side, top + side))


def to_square(image: Image.Image, size_px: int, whole: Size | None = None) -> Image.Image:
    """Resize the shorter side to `size_px` (antialiased bicubic), and crop the centre.

    Args:
        image: the picture.
        size_px: side of the square.
        whole: width and height that it was decoded at a part of, so that both lie alike in the
            square; the picture's own by default.
    """
    whole = whole or image.size
    scale, part = size_px / min(whole), round(whole[0] / image.width)
    width, height = (max(size_px, round(side * scale)) for side in whole)
    filled = (min(image.width, whole[0] / part), min(image.height, whole[1] / part))
    resized = image.resize((width, height), Image.Resampling.BICUBIC, (0, 0, *filled))
    left, top = (width - size_px) // 2, (height - size_px) // 2
    return resized.crop((left, top, left + size_px, top + size_px))

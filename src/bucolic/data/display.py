"""An image file's pixels as a viewer shows them: in sRGB, upright, on a white page.

What a file says about how it is to be shown is done to its pixels:

- the orientation of Exif or XMP turns the picture;
- an ICC profile brings its colours to sRGB; one that is sRGB's own changes no pixel, and one that
  is broken or speaks of other colours than the file's is ignored, as browsers do;
- white shows through transparent parts, also around a GIF's first frame;
- 16 bits a sample become 8 by their upper byte; CMYK, YCbCr, Lab and palettes become RGB;
- of several frames or pages the first is shown.

Viewers disagree about PNG's gamma and about pixels that are not square: both are left alone. What
has no one faithful picture is refused: samples without a range (floating point, signed, 32 bits),
wide or high dynamic range colours without a profile, formats other than FORMATS.
"""

import io
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.GifImagePlugin import GifImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import MAX_TEXT_CHUNK
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    IMAGELENGTH,
    IMAGEWIDTH,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    PREFIXES,
    SAMPLEFORMAT,
    SAMPLESPERPIXEL,
    STRIPOFFSETS,
    TILEOFFSETS,
    TiffImageFile,
)

from bucolic.base.errors import BucolicError, DataError, TransientError, as_transient

# To be raised with any change of pixels, or of what is refused: vectors and squares of pictures
# that were decoded otherwise are not used again.
VERSION = 2
# Cameras in common use have up to 65 million.
MAX_PIXELS = 100_000_000
DECODED_BYTES = 16  # a pixel that decoding may hold: four copies of 4
MAX_ASPECT = 16
LARGE_PIXELS = MAX_PIXELS // 16
_LARGE = threading.Lock()
FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF")
OTHER_FORMATS = {
    b"8BPS": "Photoshop",
    b"%!PS": "PostScript",
    b"\xc5\xd0\xd3\xc6": "PostScript",
    b"%PDF": "PDF",
    b"<svg": "SVG",
    b"<?xml": "SVG or other XML",
    b"DDS ": "DDS",
    b"qoif": "QOI",
    b"v/1\x01": "OpenEXR",
    b"\x00\x00\x01\x00": "icon",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    **{f"P{kind}".encode() + end: "Netpbm" for kind in range(1, 8) for end in (b"\n", b" ")},
}
BEGINNINGS = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    **dict.fromkeys(PREFIXES, "TIFF"),
}
MARKS = {b"RIFFWEBP": "WEBP", b"ftypavif": "AVIF", b"ftypavis": "AVIF"}  # behind the first bytes
# sRGB's and those of standard video, which browsers show alike; 2 is unspecified (ITU-T H.273).
PLAIN_PRIMARIES = {1, 2, 5, 6, 7}
PLAIN_TRANSFERS = {1, 2, 4, 6, 7, 13, 14, 15}
SAME_LEVELS = 3  # of 255: how far another writer's sRGB profile may be from this one
UNSIGNED = {1, 4}  # TIFF's sample formats; 4 is undefined, which is read as unsigned
NEW_SUBFILE_TYPE = 254  # of a TIFF page; the lowest bit says that it is a preview
MODES = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}  # an ICC profile's colours to Pillow's
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = {5, 6, 7, 8}
Made = TypeVar("Made")
Size = tuple[int, int]
Make = Callable[[Image.Image, Size], Made]


class UnshownError(DataError):
    """A file without a faithful picture; `status` tells broken from too large and unsupported."""

    def __init__(self, status: Literal["corrupt", "too_large", "unsupported"], reason: str) -> None:
        super().__init__(reason)
        self.status = status

    def __reduce__(self) -> tuple[type["UnshownError"], tuple[str, str]]:
        """With both, which other processes need to be told it."""
        return type(self), (self.status, str(self))


def middle(picture: Image.Image) -> Image.Image:
    """Cut what is over MAX_ASPECT times as long as it is wide down to that, about its centre.

    Whoever scales the shorter side and keeps the centre square needs no more, and does not hold a
    line of 10,000 pixels scaled up both ways.
    """
    longest = MAX_ASPECT * min(picture.size)
    if max(picture.size) <= longest:
        return picture
    width, height = (min(side, longest) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


@contextmanager
def open_picture(content: bytes) -> Iterator[Image.Image]:
    """Open an image file, its pixels not yet decoded.

    Raises:
        UnshownError: it cannot be opened.
        TransientError: there is no memory for it now.
    """
    with _opened(content) as image:
        yield image


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height of an opened file as its header has them; Pillow turns those of TIFF.

    Raises:
        UnshownError: the header is broken.
    """
    if not isinstance(image, TiffImageFile):
        return image.size
    with _decoding(image.size):
        return image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]


def show(image: Image.Image) -> Image.Image:
    """Decode an opened file to the RGB picture that a viewer shows; it has no metadata left.

    Raises:
        UnshownError: it is broken, over MAX_PIXELS, or cannot be shown faithfully.
        TransientError: there is no memory for it now.
    """
    return made_of(image, lambda picture, _: picture)


def made_of(image: Image.Image, make: Make[Made], decode_px: int | None = None) -> Made:
    """What `make` makes of the picture, while no thread holds another large one.

    Args:
        image: of `open_picture`.
        make: given what `show` gives, and its whole width and height, which a picture that was
            decoded at a part of them fills but for its last row and column; it keeps nothing.
        decode_px: where given, a JPEG is decoded at the least of 1/1, 1/2, 1/4 and 1/8 of its size
            at which both sides are as long, out of fewer coefficients; its whole stream is read.

    Raises:
        UnshownError, TransientError: see `show`; what `make` raises comes as it is.
    """
    with _one_large(image):
        whole = image.size
        if decode_px is None or not isinstance(image, JpegImageFile):
            picture = _shown(image)
            return make(picture, picture.size)
        image.draft(None, (decode_px, decode_px))
        picture = _shown(image)
        return make(picture, whole[::-1] if exchanges_sides(image) else whole)


def _opened(content: bytes) -> Image.Image:
    try:
        with _decoding():
            image = Image.open(io.BytesIO(content), formats=FORMATS)
            _read_what_pillow_leaves(image, content)
            return image
    except UnidentifiedImageError:
        raise _unopened(content) from None


@contextmanager
def _decoding(size: Size = (0, 0)) -> Iterator[None]:
    """What Pillow raises on a file in the block, its picture of that size, as what it means."""
    try:
        yield
    except (BucolicError, UnidentifiedImageError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        limit = f"more than {MAX_PIXELS} pixels, the limit, or than Pillow allows in this process"
        raise UnshownError("too_large", limit) from None
    except Exception as error:  # noqa: BLE001 - decoders raise anything on a broken file
        if isinstance(error, MemoryError) or not _has_memory(DECODED_BYTES * size[0] * size[1]):
            raise TransientError(
                f"no memory left to decode a picture of up to {MAX_PIXELS} pixels: free some"
            ) from None
        raise as_transient(error) or _broken(error) from None


def _has_memory(size_bytes: int) -> bool:
    """Whether so much can be had now: without it libjpeg and others call a sound file broken."""
    try:
        bytearray(size_bytes)
    except MemoryError:
        return False
    return True


def exchanges_sides(image: Image.Image) -> bool:
    """Whether a decoded file is shown turned by 90 or 270 degrees."""
    if isinstance(image, TiffImageFile):  # turned by now
        return image.size != stored_size(image)
    return _orientation(image) in SIDEWAYS


@contextmanager
def _one_large(image: Image.Image) -> Iterator[None]:
    """One large picture is held at a time, however many threads decode: memory would add up."""
    _require_bounded(image)
    width, height = image.size
    if width * height < LARGE_PIXELS:
        yield
        return
    with _LARGE:
        yield


def _shown(image: Image.Image) -> Image.Image:
    with _decoding(image.size):
        return _upright_in_srgb(image)


def _upright_in_srgb(image: Image.Image) -> Image.Image:
    drawn = image.tile[0].extents if isinstance(image, GifImageFile) else None
    image.load()
    colours, alpha = _colours_and_alpha(image)
    picture = _in_srgb(colours, image.info.get("icc_profile"))
    if drawn not in (None, (0, 0, *image.size)):
        alpha = _only_inside(drawn, alpha, image.size)
    if alpha is not None:
        page = Image.new("RGB", picture.size, "white")
        page.paste(picture, mask=alpha)
        picture = page
    turn = TURNS.get(_orientation(image))
    picture = picture if turn is None else picture.transpose(turn)
    # A PNG made of this picture would carry them: the profile of colours that are sRGB by now.
    picture.info = {}
    return picture


def _require_bounded(image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnshownError(
            "too_large",
            f"{width}x{height} are {width * height} pixels, the limit is {MAX_PIXELS}",
        )


def _colours_and_alpha(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colours in mode L, RGB or CMYK, and the opacity in mode L where the file has one."""
    if image.mode in ("I", "F"):
        raise UnshownError(
            "unsupported", f"samples of Pillow's mode {image.mode} have no known range"
        )
    if image.mode.startswith("I;16"):
        image = _upper_bytes(image)
    plain = "L" if image.mode in ("1", "L", "LA", "La") else "RGB"
    if image.has_transparency_data:
        image = image.convert(plain + "A")
        return image.convert(plain), image.getchannel("A")
    return (image if image.mode in ("CMYK", plain) else image.convert(plain)), None


def _upper_bytes(image: Image.Image) -> Image.Image:
    """Greyscale of over 8 bits a sample as L or LA; Pillow would clip all above 255 to white."""
    samples = np.asarray(image)
    bits, inverted = 16, False
    if isinstance(image, TiffImageFile):
        bits = image.tag_v2[BITSPERSAMPLE][0]
        inverted = image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == 0
    upper = (samples >> (bits - 8)).astype(np.uint8)
    grey = Image.fromarray(~upper if inverted else upper)
    if "transparency" in image.info:
        opaque = samples != image.info["transparency"]
        grey.putalpha(Image.fromarray(opaque.astype(np.uint8) * 255))
    return grey


def _only_inside(
    box: tuple[int, int, int, int], alpha: Image.Image | None, size: tuple[int, int]
) -> Image.Image:
    """Opacity that is 0 outside the box."""
    inside = Image.new("L", size, 0)
    inside.paste(255 if alpha is None else alpha.crop(box), box)
    return inside


def _orientation(image: Image.Image) -> int:
    """Exif's orientation of a decoded file, 1 to 8; Pillow has turned a TIFF already."""
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # noqa: BLE001 - broken Exif data raise anything; viewers ignore them
        return 1
    return found if isinstance(found, int) else 1


class _Reading(NamedTuple):
    """How the colours of one ICC profile become sRGB: from which mode of Pillow, and by what."""

    mode: str
    to_srgb: ImageCms.ImageCmsTransform


def _in_srgb(colours: Image.Image, profile: bytes | None) -> Image.Image:
    """RGB in sRGB, of L, RGB or CMYK; a profile of RGB holds for greyscale as well."""
    reading = _reading_of(profile) if profile else None
    if reading and (reading.mode == colours.mode or (reading.mode, colours.mode) == ("RGB", "L")):
        in_its_mode = colours if colours.mode == reading.mode else colours.convert(reading.mode)
        return reading.to_srgb.apply(in_its_mode)
    return colours.convert("RGB")


@lru_cache(maxsize=32)
def _reading_of(profile: bytes) -> _Reading | None:
    """Read an ICC profile; None where it is broken, or where its colours are sRGB's already."""
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = MODES[source.profile.xcolor_space.strip()]
        srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        reading = _Reading(mode, ImageCms.buildTransform(source, srgb, mode, "RGB"))
    except (ImageCms.PyCMSError, OSError, KeyError, TypeError):
        return None
    return None if _changes_nothing(reading) else reading


def _changes_nothing(reading: _Reading) -> bool:
    """Names of profiles lie; a grid of colours that stay what they are does not."""
    if reading.mode == "CMYK":
        return False
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    channels = len(reading.mode)
    grid = np.stack(np.meshgrid(*[levels] * channels), axis=-1).reshape(1, -1, channels)
    colours = Image.fromarray(grid.squeeze(-1) if channels == 1 else grid)
    shown = np.asarray(reading.to_srgb.apply(colours), np.int16)
    return int(np.abs(shown - grid).max()) <= SAME_LEVELS


def _read_what_pillow_leaves(image: Image.Image, content: bytes) -> None:
    """A PNG's transparent colour, in 8 bits a sample, and what is no picture for a screen as is."""
    if isinstance(image, TiffImageFile) and image.tag_v2.get(NEW_SUBFILE_TYPE, 0) & 1:
        raise UnshownError("unsupported", "its first page is a preview of another one (as in DNG)")
    if isinstance(image, TiffImageFile) and not set(_sample_formats(image)) <= UNSIGNED:
        raise UnshownError("unsupported", "TIFF of samples that are not unsigned whole numbers")
    if isinstance(image, TiffImageFile) and image.tag_v2.get(PLANAR_CONFIGURATION) == 2:
        _require_whole_planes(image)
    if image.format == "PNG" and image.mode in ("L", "RGB") and "transparency" in image.info:
        image.info["transparency"] = _in_8_bits(image.info["transparency"], content[24])
    if not image.info.get("icc_profile"):
        _require_plain_colours(image, content)


def _sample_formats(image: TiffImageFile) -> tuple[int, ...]:
    found = image.tag_v2.get(SAMPLEFORMAT, (1,))
    return found if isinstance(found, tuple) else (found,)


def _require_whole_planes(image: TiffImageFile) -> None:
    """Refuse a TIFF with a plane for each channel that Pillow would read amiss without a word."""
    tags = image.tag_v2
    bits = set(tags.get(BITSPERSAMPLE, (1,)))
    if bits != {8}:
        raise UnshownError("unsupported", f"TIFF in planes of {max(bits)} bits a sample")
    offsets = tags.get(STRIPOFFSETS) or tags.get(TILEOFFSETS) or ()
    if not offsets or len(offsets) % tags.get(SAMPLESPERPIXEL, 1):
        raise UnshownError("corrupt", "TIFF that lacks a plane")


def _in_8_bits(colour: int | tuple[int, ...], depth: int) -> int | tuple[int, ...]:
    """A grey or RGB colour of a PNG with `depth` bits a sample."""
    full = int(2**depth - 1)
    samples = [sample & full for sample in ((colour,) if isinstance(colour, int) else colour)]
    upper = [sample >> 8 if depth == 16 else sample * 255 // full for sample in samples]
    return upper[0] if isinstance(colour, int) else tuple(upper)


def _require_plain_colours(image: Image.Image, content: bytes) -> None:
    """Refuse primaries and transfer functions (ITU-T H.273) that screens show only converted."""
    if image.format == "PNG":
        codes = content.partition(b"IDAT")[0].partition(b"cICP")[2][:2]
    elif image.format == "AVIF":
        codes = content.partition(b"colrnclx")[2][1:4:2]  # two numbers of 16 bits
    else:
        return
    if codes and not (codes[0] in PLAIN_PRIMARIES and codes[1] in PLAIN_TRANSFERS):
        raise UnshownError(
            "unsupported",
            f"colours of primaries {codes[0]} and transfer {codes[1]} (H.273), without a profile",
        )


def _unopened(content: bytes) -> UnshownError:
    """Why Pillow knows no way to open the file."""
    known = next((name for start, name in OTHER_FORMATS.items() if content.startswith(start)), None)
    if content[4:8] == b"ftyp" and content[8:12] not in (b"avif", b"avis"):
        known = f"HEIF ({content[8:12].decode('ascii', 'replace')})"
    if content.startswith(tuple(PREFIXES)) and _has_unknown_samples(content):
        known = "TIFF with samples of this kind"
    if known:
        return UnshownError("unsupported", f"{known} is not among {', '.join(FORMATS)}")
    if begun := _beginning(content):
        return UnshownError("corrupt", f"begins as {begun}, and cannot be read on")
    return UnshownError("corrupt", f"neither of {', '.join(FORMATS)}" if content else "empty file")


def _beginning(content: bytes) -> str | None:
    """The format, among FORMATS, whose first bytes these are."""
    plain = next((name for start, name in BEGINNINGS.items() if content.startswith(start)), None)
    return plain or MARKS.get(content[:4] + content[8:12]) or MARKS.get(content[4:12])


def _has_unknown_samples(content: bytes) -> bool:
    """Whether a TIFF's directory is whole, and what Pillow knows no way to read."""
    order = "<" if content.startswith(b"I") else ">"
    try:
        (start,) = struct.unpack_from(f"{order}I", content, 4)
        (tags,) = struct.unpack_from(f"{order}H", content, start)
        TiffImageFile(io.BytesIO(content))
    except Exception as error:  # noqa: BLE001 - as above
        return "unknown" in str(error) and start + 2 + 12 * tags <= len(content)
    return False


def _broken(error: Exception) -> UnshownError:
    """What a decoder said, without the addresses of objects, which differ each run."""
    words = str(error)
    if "MAX_TEXT" in words:
        return UnshownError(
            "too_large", f"a text or profile unpacks to more than the limit, {MAX_TEXT_CHUNK} bytes"
        )
    name = type(error).__name__
    return UnshownError("corrupt", name if not words or " at 0x" in words else f"{name}: {words}")

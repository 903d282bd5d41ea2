"""Image files that no encoder here would write: PNGs chunk by chunk, and ICC profiles."""

import io
import struct
import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image

GAMMA = 563 / 256
# Columns of red, green and blue in XYZ under D50.
SRGB = np.array([[0.4361, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
DISPLAY_P3 = np.array(
    [[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]
)


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file of this kind."""
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def png(
    size: tuple[int, int], depth: int, colour: int, rows: Sequence[bytes], **chunks: bytes
) -> bytes:
    """A PNG of given rows of samples; `chunks` go before the pixels, which no rows leave out."""
    header = struct.pack(">IIBBBBB", *size, depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *((name.encode(), body) for name, body in chunks.items())]
    parts += [(b"IDAT", pixels), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(name, body) for name, body in parts)


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def rgb_profile(columns: np.ndarray = DISPLAY_P3, curve: bytes | None = None) -> bytes:
    """An ICC profile of three primaries and GAMMA, or another curve."""
    names = ("rXYZ", "gXYZ", "bXYZ")
    tags = {name: _xyz(column) for name, column in zip(names, columns.T, strict=True)}
    return _profile(
        b"RGB ", b"XYZ ", {**tags, **dict.fromkeys(("rTRC", "gTRC", "bTRC"), curve or _curve())}
    )


def srgb_profile() -> bytes:
    """An ICC profile of sRGB as those of few bytes are: a curve of 26 points, and a level off."""
    levels = np.arange(26) / 25
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    table = np.round(linear * 65535).astype(">u2").tobytes()
    return rgb_profile(SRGB, b"curv\0\0\0\0" + struct.pack(">I", 26) + table)


def grey_profile() -> bytes:
    """An ICC profile of greyscale with GAMMA."""
    return _profile(b"GRAY", b"XYZ ", {"kTRC": _curve()})


def cmyk_profile() -> bytes:
    """An ICC profile in which cyan ink is a grey of L* = 40, black is black, and no other shows."""
    lightness = [0 if corner % 2 else 102 if corner >= 8 else 255 for corner in range(16)]
    table = bytes(value for light in lightness for value in (light, 128, 128))
    identity = b"".join(struct.pack(">i", 65536 * (i % 4 == 0)) for i in range(9))
    ramps = bytes(range(256))
    lut = b"mft1\0\0\0\0" + bytes([4, 3, 2, 0]) + identity + ramps * 4 + table + ramps * 3
    return _profile(b"CMYK", b"Lab ", {"A2B0": lut}, b"prtr")


def _xyz(values: Sequence[float]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)


def _curve() -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(GAMMA * 256))


def _profile(space: bytes, target: bytes, tags: dict[str, bytes], kind: bytes = b"mntr") -> bytes:
    white = (0.9642, 1.0, 0.8249)
    tags = {"desc": b"desc\0\0\0\0" + struct.pack(">I", 1) + bytes(80), "wtpt": _xyz(white), **tags}
    table, bodies, offset = b"", b"", 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        padded = body + bytes(-len(body) % 4)
        table += name.encode() + struct.pack(">II", offset + len(bodies), len(body))
        bodies += padded
    rest = struct.pack(">I", len(tags)) + table + bodies
    header = struct.pack(">I4sI4s4s4s", 128 + len(rest), b"", 0x02400000, kind, space, target)
    header += bytes(12) + b"acsp" + bytes(28) + _xyz(white)[8:]
    return header.ljust(128, b"\0") + rest

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


def planar_tiff(bits: int, planes: int) -> bytes:
    """An RGB TIFF of 4 x 4 pixels, 200, 40 and 90 of 255, with a plane for each channel."""
    samples = [level * (257 if bits == 16 else 1) for level in (200, 40, 90)]
    strips = [struct.pack(">H" if bits == 16 else "B", sample) * 16 for sample in samples]
    start = 8 + 2 + 10 * 12 + 4  # the header and a directory of ten tags
    tables = start + 6
    places = [tables + 8 * planes + sum(map(len, strips[:i])) for i in range(planes)]
    size = len(strips[0])
    entries = [
        (256, 3, 1, 4 << 16),
        (257, 3, 1, 4 << 16),
        (258, 3, 3, start),
        (259, 3, 1, 1 << 16),
        (262, 3, 1, 2 << 16),
        (273, 4, planes, tables if planes > 1 else places[0]),
        (277, 3, 1, 3 << 16),
        (278, 3, 1, 4 << 16),
        (279, 4, planes, tables + 4 * planes if planes > 1 else size),
        (284, 3, 1, 2 << 16),
    ]
    directory = struct.pack(">H", len(entries)) + b"".join(
        struct.pack(">HHII", *e) for e in entries
    )
    counts = struct.pack(f">{2 * planes}I", *places, *[size] * planes)
    head = b"MM\0*" + struct.pack(">I", 8) + directory + bytes(4)
    return head + struct.pack(">3H", bits, bits, bits) + counts + b"".join(strips[:planes])

"""What a viewer shows is what decode() gives, and what cannot be shown is told why."""

import io
import struct
import subprocess
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from bucolic.data.display import MAX_PIXELS, UnshownError, _broken, middle
from bucolic.data.images import Checked, check_image, decode, decoded
from bucolic.data.pillow import prepare_pillow
from bucolic.data.squares import Framing
from picture_files import (
    DISPLAY_P3,
    GAMMA,
    SRGB,
    cmyk_profile,
    encoded,
    grey_profile,
    planar_tiff,
    png,
    rgb_profile,
    srgb_profile,
)

TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
KINDS = ("JPEG", "PNG", "WEBP", "TIFF", "AVIF")
PALETTE = bytes([250, 0, 0, 0, 250, 0, 0, 0, 250])


def square_png(picture: Image.Image, size_px: int) -> bytes:
    """The file of a picture's centre square."""
    return Framing(size_px=size_px).file_of(picture, None)


def pixels(content: bytes) -> list[list[int]]:
    """The first row of what decode() gives."""
    return np.asarray(decode(content))[0].tolist()


def upright() -> Image.Image:
    """A picture of 96 x 64 whose corners differ: red, green, blue and grey."""
    corners = np.array([[(220, 20, 20), (20, 200, 20)], [(20, 20, 220), (120, 120, 120)]], np.uint8)
    return Image.fromarray(corners.repeat(32, 0).repeat(48, 1))


def noise(size: tuple[int, int] = (48, 32)) -> Image.Image:
    """Colours of every kind."""
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (*size[::-1], 3), np.uint8))


def lying(orientation: int, kind: str) -> bytes:
    """The upright picture as a camera stores it that was held so."""
    turn, exif = TURNS[orientation], Image.Exif()
    exif[0x0112] = orientation
    stored = upright() if turn is None else upright().transpose(turn)
    return encoded(stored, kind, exif=exif, quality=95)


def rgb(content: bytes) -> np.ndarray:
    """Pixels as decode() has them, for comparisons."""
    return np.asarray(decode(content), int)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_photograph_is_upright(kind: str, orientation: int):
    """Each orientation of Exif gives the picture that the photographer saw, in every format."""
    content = lying(orientation, kind)
    assert (96, 64) == decode(content).size
    assert np.abs(rgb(content) - np.asarray(upright(), int)).mean() < 3
    square = np.asarray(Image.open(io.BytesIO(square_png(decode(content), 32))), int)
    assert np.abs(square[2, 2] - (220, 20, 20)).max() < 10


@pytest.mark.parametrize("kind", KINDS)
def test_either_size_of_a_turned_photograph_is_right(kind: str):
    """Tools annotate the size as stored or as shown; both are accepted where the file says why."""
    turned, plain = lying(6, kind), lying(3, kind)
    assert "ok" == check_image(turned, 96, 64).status
    assert "ok" == check_image(turned, 64, 96).status
    assert "ok" == check_image(plain, 96, 64).status
    wrong = check_image(plain, 64, 96)
    assert ("wrong_size", "96x64, annotated 64x96") == (wrong.status, wrong.reason)
    assert "wrong_size" == check_image(turned, 96, 65).status


def test_an_orientation_after_the_pixels_is_honoured():
    """PNG allows its Exif data behind the pixels."""
    whole = lying(6, "PNG")
    start = whole.index(b"eXIf") - 4
    end = start + 12 + struct.unpack(">I", whole[start : start + 4])[0]
    moved = whole[:start] + whole[end:-12] + whole[start:end] + whole[-12:]
    assert whole.index(b"IDAT") > start > 0
    assert np.array_equal(np.asarray(upright()), np.asarray(decode(moved)))
    assert ["ok", "ok"] == [check_image(moved, *size).status for size in ((96, 64), (64, 96))]


def test_an_orientation_that_stands_in_xmp_alone_is_honoured():
    """Some editors write it nowhere else; where Exif has one, that holds."""
    stored, exif = upright().transpose(TURNS[6]), Image.Exif()
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert (96, 64) == decode(encoded(stored, "JPEG", xmp=xmp)).size
    exif[0x0112] = 1
    assert (64, 96) == decode(encoded(stored, "JPEG", xmp=xmp, exif=exif)).size


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("rubbish", [b"rubbish", b"II*\0\xff\xff\xff\xff", b"MM\0\0"])
def test_broken_exif_data_are_ignored(kind: str, rubbish: bytes):
    """Viewers show such a photograph as it is stored."""
    content = encoded(noise(), kind, exif=b"Exif\0\0" + rubbish)
    assert rubbish in content
    assert np.array_equal(rgb(encoded(noise(), kind)), rgb(content))
    assert "ok" == check_image(content, 48, 32).status


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
def test_a_plain_file_has_the_pixels_and_bytes_it_always_had(kind: str):
    """Without a word about its display a file is what Pillow decodes, down to the shard's PNG."""
    content = encoded(noise(), kind)
    expected = Image.open(io.BytesIO(content)).convert("RGB")
    assert np.array_equal(np.asarray(expected), np.asarray(decode(content)))
    buffer = io.BytesIO()
    half = expected.resize((24, 16), Image.Resampling.BICUBIC).crop((4, 0, 20, 16))
    half.save(buffer, "PNG", compress_level=3)
    assert buffer.getvalue() == square_png(decode(content), 16)


def test_16_bit_greyscale_keeps_its_greys():
    """Samples over 255 are not all white."""
    row = struct.pack(">4H", 0, 50 << 8, 128 << 8 | 255, 65535)
    assert [[v] * 3 for v in (0, 50, 128, 255)] == pixels(png((4, 1), 16, 0, [row]))
    clear = png((4, 1), 16, 0, [row], tRNS=struct.pack(">H", 50 << 8))
    assert [[v] * 3 for v in (0, 255, 128, 255)] == pixels(clear)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw"])
def test_16_bit_tiff_keeps_its_greys_also_where_0_is_white(compression: str):
    """The same, where black and white are told by a tag."""
    picture = Image.fromarray(np.array([[0, 50 << 8, 65535]], np.uint16))
    for inverted, greys in ((1, (0, 50, 255)), (0, (255, 205, 0))):
        content = encoded(picture, "TIFF", tiffinfo={262: inverted}, compression=compression)
        assert [[v] * 3 for v in greys] == pixels(content)


def test_12_bit_tiff_fills_the_range():
    """4095 of 12 bits is white."""
    pair = bytes([0xFF, 0xF8, 0x00])  # 4095 and 2048
    tags = [(256, 4, 2), (257, 4, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 4, 1), (279, 4, 3)]
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    content = b"II*\0" + struct.pack("<I", 12) + pair + b"\0" + directory + bytes(4)
    assert [[255] * 3, [128] * 3] == pixels(content)


def test_fewer_bits_than_8_keep_their_greys_and_their_hole():
    """A transparent grey is told in the file's own depth."""
    assert [[v] * 3 for v in (255, 0, 255, 0)] == pixels(png((4, 1), 1, 0, [b"\xa0"]))
    assert [[v] * 3 for v in (0, 85, 170, 255)] == pixels(png((4, 1), 2, 0, [b"\x1b"]))
    for depth, row, grey in ((2, b"\x1b", 1), (4, b"\x05\xaf", 5), (1, b"\x40", 0)):
        shown = pixels(png((4, 1), depth, 0, [row], tRNS=struct.pack(">H", grey)))
        hole = {1: 0, 2: 1, 4: 1}[depth]
        assert [255] * 3 == shown[hole]
    assert [[0] * 3, [255] * 3, [170] * 3] == pixels(
        png((4, 1), 4, 0, [b"\x05\xaf"], tRNS=struct.pack(">H", 5))
    )[:3]


def test_16_bit_colours_keep_their_upper_byte_and_their_hole():
    """One transparent colour of 16 bits leaves a hole, and the others stand."""
    row = struct.pack(">6H", 250 << 8, 50 << 8, 0, 10 << 8, 20 << 8, 65535)
    assert [[250, 50, 0], [10, 20, 255]] == pixels(png((2, 1), 16, 2, [row]))
    clear = png((2, 1), 16, 2, [row], tRNS=struct.pack(">3H", 250 << 8, 50 << 8, 0))
    assert [[255] * 3, [10, 20, 255]] == pixels(clear)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (png((2, 1), 8, 6, [bytes([9, 9, 9, 0, 100, 0, 0, 51])]), [[255] * 3, [224, 204, 204]]),
        (png((2, 1), 8, 4, [bytes([9, 0, 100, 255])]), [[255] * 3, [100] * 3]),
        (png((2, 1), 8, 2, [bytes([1, 2, 3, 4, 5, 6])], tRNS=bytes([0, 1, 0, 2, 0, 3])),
         [[255] * 3, [4, 5, 6]]),
        (png((2, 1), 8, 0, [bytes([1, 2])], tRNS=bytes([0, 1])), [[255] * 3, [2] * 3]),
        (png((2, 1), 8, 3, [bytes([0, 1])], PLTE=PALETTE, tRNS=b"\0"), [[255] * 3, [0, 250, 0]]),
        (png((2, 1), 8, 3, [bytes([0, 1])], PLTE=PALETTE, tRNS=b"\xff\x33"),
         [[250, 0, 0], [204, 254, 204]]),
        (png((2, 1), 8, 3, [bytes([0, 1])], PLTE=PALETTE), [[250, 0, 0], [0, 250, 0]]),
    ],
)  # fmt: skip
def test_white_shows_through_what_is_transparent(content: bytes, expected: list[list[int]]):
    """Alpha, a transparent colour and a palette with opacities lie on a white page."""
    assert expected == pixels(content)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_every_format_with_transparency_lies_on_white(kind: str):
    """Half of the picture is clear, with black below it."""
    picture = upright().convert("RGBA")
    picture.paste((0, 0, 0, 0), (0, 0, 48, 64))
    shown = rgb(encoded(picture, kind, lossless=True))
    assert shown[:, :44].min() > 250
    assert np.abs(shown[4, 90] - (20, 200, 20)).max() < 8


def test_the_page_shows_around_a_gif_that_fills_a_part_of_its_canvas():
    """What the first frame does not cover is no colour of the palette."""
    canvas = b"GIF89a" + struct.pack("<HHBBB", 8, 8, 0xF0, 0, 0) + bytes([255, 0, 0, 0, 255, 0])
    frame = b"," + struct.pack("<HHHHB", 2, 2, 2, 2, 0) + b"\x02\x03\x4c\x12\x05\0;"
    shown = np.asarray(decode(canvas + frame))
    assert ([255] * 3, [0, 255, 0]) == (shown[0, 0].tolist(), shown[3, 3].tolist())


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO", "AVIF"])
def test_of_several_frames_the_first_is_shown(kind: str):
    """Moving pictures, pages and pairs give their first picture."""
    second = Image.new("RGB", (96, 64), (1, 1, 1))
    content = encoded(upright(), kind, save_all=True, append_images=[second], quality=95)
    assert 1 < Image.open(io.BytesIO(content)).n_frames
    assert np.abs(rgb(content) - np.asarray(upright(), int)).mean() < 6
    assert "ok" == check_image(content, 96, 64).status


@pytest.mark.parametrize(
    ("kind", "mode"),
    [("JPEG", "CMYK"), ("TIFF", "CMYK"), ("TIFF", "YCbCr"), ("TIFF", "LAB"), ("JPEG", "L"),
     ("PNG", "P"), ("PNG", "1"), ("PNG", "LA"), ("TIFF", "LA"), ("TIFF", "RGBA")],
)  # fmt: skip
def test_colours_of_every_mode_stay_what_they_are(kind: str, mode: str):
    """Inks, luminance, Lab and palettes give the colours that were put in."""
    bright = Image.new("RGB", (16, 16), "white" if mode == "1" else (204, 51, 0))
    grey = mode in ("L", "LA")
    expected = np.asarray(bright.convert("L").convert("RGB") if grey else bright, int)
    shown = encoded(bright.convert(mode), kind)
    assert np.abs(rgb(shown) - expected).max() <= 6
    checked = check_image(shown, 16, 16)
    assert ("ok", mode) == (checked.status, checked.mode)


def in_srgb(colour: tuple[int, int, int], columns: np.ndarray) -> np.ndarray:
    """A colour of other primaries in sRGB, by the formula of IEC 61966-2-1."""
    linear = np.linalg.solve(SRGB, columns @ (np.array(colour) / 255) ** GAMMA).clip(0, 1)
    curved = np.where(linear < 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return curved * 255


@pytest.mark.parametrize("kind", KINDS)
def test_colours_of_a_wide_profile_come_to_srgb(kind: str):
    """A Display P3 photograph has the colours that its screen had."""
    colour = (200, 100, 50)
    content = encoded(
        Image.new("RGB", (16, 16), colour), kind, icc_profile=rgb_profile(), quality=100
    )
    expected = in_srgb(colour, DISPLAY_P3)
    assert np.abs(expected - colour).max() > 10
    assert np.abs(rgb(content) - expected).max() <= 5
    assert "icc_profile" not in decode(content).info


def test_a_profile_holds_for_greyscale_palettes_and_transparent_pictures():
    """Its colours change alike, and opacity does not."""
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([200, 100, 50])
    clear = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    clear.putpixel((1, 0), (0, 0, 0, 0))
    expected = in_srgb((200, 100, 50), DISPLAY_P3)
    for picture in (palette, clear):
        shown = rgb(encoded(picture, "PNG", icc_profile=rgb_profile()))
        assert np.abs(shown[0, 0] - expected).max() <= 2
    assert [255] * 3 == shown[0, 1].tolist()
    dark = in_srgb((20, 20, 20), SRGB)[0]
    assert abs(dark - 20) > 3
    for profile in (grey_profile(), rgb_profile(SRGB)):
        grey = rgb(encoded(Image.new("L", (2, 1), 20), "PNG", icc_profile=profile))
        assert np.abs(grey - dark).max() <= 2


def test_inks_are_mixed_as_their_profile_says():
    """A profile in which cyan is a dark grey makes it one."""
    picture = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    plain, profiled = encoded(picture, "JPEG"), encoded(picture, "JPEG", icc_profile=cmyk_profile())
    assert np.abs(rgb(plain) - (0, 255, 255)).max() <= 4
    assert np.abs(rgb(profiled) - 94).max() <= 4  # L* = 40 in sRGB


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("writer", ["lcms", "table"])
def test_a_profile_of_srgb_changes_no_byte(kind: str, writer: str):
    """Most photographs carry one, if not to the last digit; all is as without it."""
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = srgb if writer == "lcms" else srgb_profile()
    plain, tagged = encoded(noise(), kind), encoded(noise(), kind, icc_profile=profile)
    assert len(tagged) > len(plain) + 100
    assert np.array_equal(rgb(plain), rgb(tagged))
    assert square_png(decode(plain), 16) == square_png(decode(tagged), 16)


@pytest.mark.parametrize(
    "profile",
    [b"no profile", rgb_profile()[:200], grey_profile(), cmyk_profile(), bytes(4000)],
    ids=["text", "torn", "grey", "cmyk", "zeros"],
)
def test_a_profile_that_says_nothing_of_the_file_is_ignored(profile: bytes):
    """Viewers show the pixels as they are, and so do we."""
    content = encoded(noise(), "PNG", icc_profile=profile)
    assert np.array_equal(np.asarray(noise()), np.asarray(decode(content)))
    assert "ok" == check_image(content, 48, 32).status


def test_a_profile_of_another_type_than_bytes_is_ignored():
    """A TIFF may say that its profile is a number."""
    tags = ImageFileDirectory_v2()
    tags[34675] = (1, 2, 3)
    tags.tagtype[34675] = 3
    content = encoded(noise(), "TIFF", tiffinfo=tags)
    assert 1 == Image.open(io.BytesIO(content)).info["icc_profile"]
    assert np.array_equal(np.asarray(noise()), np.asarray(decode(content)))


def test_a_preview_is_not_taken_for_the_photograph():
    """The first page of a raw file may be one."""
    checked = check_image(encoded(noise(), "TIFF", tiffinfo={254: 1}), 48, 32)
    reason = "its first page is a preview of another one (as in DNG)"
    assert ("unsupported", reason) == (checked.status, checked.reason)


def test_profiles_are_applied_alike_in_every_thread():
    """What is kept of a profile is shared by all threads and spoilt by none."""
    content = encoded(noise((300, 300)), "PNG", icc_profile=rgb_profile())
    alone = decode(content).tobytes()
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda _: decode(content).tobytes(), range(32)))
    assert {alone} == set(together)


@pytest.mark.parametrize("samples", [np.float32, np.int32])
def test_samples_without_a_range_are_refused(samples: type):
    """A height map has no one picture; it is not clipped to one."""
    content = encoded(Image.fromarray(np.ones((4, 4), samples)), "TIFF")
    checked = check_image(content, 4, 4)
    reason = "TIFF of samples that are not unsigned whole numbers"
    assert ("unsupported", reason) == (checked.status, checked.reason)


@pytest.mark.parametrize(("codes", "status"), [((9, 16), "unsupported"), ((1, 13), "ok")])
def test_colours_of_high_dynamic_range_are_refused(codes: tuple[int, int], status: str):
    """PQ pictures of BT.2020 would be pale; those coded as sRGB are as any other."""
    coded = png((2, 1), 8, 2, [bytes(6)], cICP=bytes([*codes, 0, 1]))
    assert status == check_image(coded, 2, 1).status
    avif = encoded(noise(), "AVIF")
    place = avif.index(b"colrnclx") + 8
    coded = avif[:place] + struct.pack(">HH", *codes) + avif[place + 4 :]
    assert status == check_image(coded, 48, 32).status


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n", "PostScript"),
        (encoded(noise(), "EPS"), "PostScript"),
        (encoded(noise(), "PDF"), "PDF"),
        (encoded(noise(), "JPEG2000"), "JPEG 2000"),
        (encoded(noise(), "PPM"), "Netpbm"),
        (encoded(noise(), "ICO"), "icon"),
        (encoded(noise(), "DDS"), "DDS"),
        (b"8BPS\0\1" + bytes(40), "Photoshop"),
        (b"\0\0\0\x18ftypheic" + bytes(40), r"HEIF (heic)"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
    ],
)
def test_other_formats_are_named_and_no_other_program_opens_them(content: bytes, name: str):
    """PostScript would be run by another program; only a closed list of formats is opened."""
    checked = check_image(content, 48, 32)
    expected = f"{name} is not among JPEG, PNG, GIF, WEBP, BMP, TIFF, AVIF"
    assert ("unsupported", expected) == (checked.status, checked.reason)


def test_a_tiff_of_unknown_samples_is_not_called_corrupt():
    """Two greys of 16 bits each, say: sound, but of no use here."""
    content = encoded(Image.new("LA", (4, 4)), "TIFF").replace(
        struct.pack("<HHI", 258, 3, 2) + struct.pack("<HH", 8, 8),
        struct.pack("<HHI", 258, 3, 2) + struct.pack("<HH", 16, 16),
    )
    checked = check_image(content, 4, 4)
    assert ("unsupported", True) == (checked.status, checked.reason.startswith("TIFF with samples"))


def test_signed_samples_have_no_known_range():
    """What one viewer shows as black is grey in another: such a TIFF is refused."""
    tags = ImageFileDirectory_v2()
    tags[339] = 2  # SampleFormat, two's complement
    content = encoded(Image.new("L", (48, 32), 200), "TIFF", tiffinfo=tags)
    checked = check_image(content, 48, 32)
    expected = "TIFF of samples that are not unsigned whole numbers"
    assert ("unsupported", expected) == (checked.status, checked.reason)


def test_unsigned_samples_of_32_bits_have_no_known_range():
    """Where white is, nobody says."""
    tags = ImageFileDirectory_v2()
    tags[339] = 1  # SampleFormat, unsigned
    content = encoded(Image.fromarray(np.ones((4, 4), np.int32)), "TIFF", tiffinfo=tags)
    content = content.replace(struct.pack("<HHIHH", 339, 3, 1, 2, 0), _unsigned())
    checked = check_image(content, 4, 4)
    assert ("unsupported", True) == (checked.status, "no known range" in checked.reason)


def _unsigned() -> bytes:
    return struct.pack("<HHIHH", 339, 3, 1, 1, 0)


def test_a_sound_file_is_not_called_a_picture():
    """RIFF is a container of other things, too."""
    checked = check_image(b"RIFF\x24\0\0\0WAVEfmt ", 48, 32)
    assert ("corrupt", True) == (checked.status, checked.reason.startswith("neither of"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_file_that_breaks_off_in_its_header_is_told_by_what_it_began_as(kind: str):
    """It is not called something else than what it was to be."""
    checked = check_image(encoded(noise(), kind)[:16], 48, 32)
    assert checked.status == "corrupt"
    assert "neither of" not in checked.reason


@pytest.mark.parametrize(
    ("width", "height", "status"),
    [(48, None, "ok"), (None, 32, "ok"), (47, None, "wrong_size"), (None, 33, "wrong_size")],
)
def test_one_annotated_side_is_compared_alone(width: int | None, height: int | None, status: str):
    """An annotation that gives the width and no height still says what the width is."""
    checked = check_image(encoded(noise(), "PNG"), width, height)
    assert checked.status == status
    if status != "ok":
        told = f"{'?' if width is None else width}x{'?' if height is None else height}"
        assert checked.reason == f"48x32, annotated {told}"


def test_one_large_picture_is_decoded_at_a_time(monkeypatch: pytest.MonkeyPatch):
    """Memory does not grow with the number of threads."""
    monkeypatch.setattr("bucolic.data.display.LARGE_PIXELS", 48 * 32)
    running, most = [], []
    load = PngImageFile.load

    def slowly(image: PngImageFile) -> object:
        running.append(None)
        most.append(len(running))
        time.sleep(0.01)
        running.pop()
        return load(image)

    monkeypatch.setattr(PngImageFile, "load", slowly)
    large, small = encoded(noise(), "PNG"), encoded(noise((48, 31)), "PNG")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [large] * 16))
    assert max(most) == 1
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decode, [small] * 16))
    assert max(most) > 1


def test_a_process_that_decodes_many_pictures_uses_their_memory_again(allocator: Any):
    """No block is allocated for a photograph as large as the last; 64 MiB are kept at most."""
    prepare_pillow()
    content = encoded(noise((640, 480)), "JPEG")
    decode(content)
    before = allocator.get_stats()
    for _ in range(4):
        decode(content)
    after = allocator.get_stats()
    assert after["allocated_blocks"] == before["allocated_blocks"]
    assert after["reused_blocks"] >= before["reused_blocks"] + 4 * 640 * 480 * 4 / 2**16
    assert allocator.get_block_size() * allocator.get_blocks_max() == 64 * 2**20


SETTINGS_OF_PILLOW = """
import logging, warnings
from PIL import Image

def settings():
    allocator = Image.core.get_block_size(), Image.core.get_blocks_max()
    filters = [each for each in warnings.filters if "PIL" in str(each[3])]
    return allocator, Image.MAX_IMAGE_PIXELS, filters, logging.getLogger("PIL").level

before = settings()
import bucolic.api.images, bucolic.generate
from bucolic.stages import embed, images, shard
from bucolic.data.pillow import prepare_pillow
print(settings() == before)
prepare_pillow()
print([one != other for one, other in zip(settings(), before)])
"""


def test_to_import_bucolic_changes_no_setting_of_pillow():
    """A user's own pictures lie in memory as they would, and Pillow guards them against bombs."""
    told = subprocess.check_output([sys.executable, "-c", SETTINGS_OF_PILLOW], text=True)
    assert ["True", "[True, True, True, True]"] == told.splitlines()


def test_a_file_over_pillows_own_limit_is_too_large_in_a_users_process(
    monkeypatch: pytest.MonkeyPatch,
):
    """Whatever that process has set; it is no broken file."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(UnshownError, match="more than 100000000 pixels") as refused:
        decode(encoded(noise(), "PNG"))
    assert "too_large" == refused.value.status


@pytest.mark.parametrize("error", [KeyError("framing"), RuntimeError("a fault")])
def test_what_is_made_of_a_picture_fails_with_its_own_error(error: Exception):
    """It says nothing of the file, which is sound."""

    def make(*_: object) -> None:
        raise error

    content = encoded(noise(), "PNG")
    with pytest.raises(type(error)):
        decoded(content, make)
    with pytest.raises(type(error)):
        check_image(content, 48, 32, make)


WANT_OF_MEMORY = """
import io, resource, sys
from pathlib import Path
from bucolic.base.errors import TransientError
from bucolic.data.images import check_image

content = Path(sys.argv[1]).read_bytes()
check_image(content, 2400, 2400)
pages = int(Path("/proc/self/statm").read_text().split()[0])
for spare_mb in range(0, 200, 10):
    limit = pages * resource.getpagesize() + spare_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        print(check_image(content, 2400, 2400).status)
    except TransientError:
        print("transient")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc are Linux's")
def test_want_of_memory_is_no_broken_file(tmp_path: Path):
    """A decoder that gets none calls the file broken, in words as of one that is."""
    path = tmp_path / "progressive.jpg"
    path.write_bytes(encoded(noise((2400, 2400)), "JPEG", progressive=True))
    command = [sys.executable, "-c", WANT_OF_MEMORY, str(path)]
    told = subprocess.check_output(command, text=True).split()
    assert {"transient", "ok"} == set(told)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "AVIF"])
def test_a_torn_file_is_corrupt_and_says_the_same_each_time(kind: str):
    """No address of an object gets into a reason."""
    content = encoded(noise(), kind)
    reasons = {cut: check_image(content[:cut], 48, 32) for cut in (0, 3, 20, len(content) * 2 // 3)}
    assert {"corrupt"} == {checked.status for checked in reasons.values()}
    for cut, checked in reasons.items():
        assert checked == check_image(content[:cut], 48, 32)
        assert checked.reason
        assert "0x" not in checked.reason
    assert "ok" == check_image(content + b"trailing rubbish", 48, 32).status


@pytest.mark.parametrize("size", [(640, 480), (13000, 12999)])
def test_the_size_is_compared_before_any_pixel_is_decoded(size: tuple[int, int]):
    """This file has a header and no pixels: all that is known of it is told all the same."""
    checked = check_image(png((13000, 13000), 8, 2, []), *size)
    expected = f"13000x13000, annotated {size[0]}x{size[1]}"
    assert ("wrong_size", expected) == (checked.status, checked.reason)


@pytest.mark.parametrize("size", [(13000, 13000), (None, None), (13000, None)])
def test_a_sound_file_over_the_limit_is_too_large_by_name(size: tuple[int | None, int | None]):
    """Its pixels are not decoded either, and the limit is told."""
    checked = check_image(png((13000, 13000), 8, 2, []), *size)
    reason = "13000x13000 are 169000000 pixels, the limit is 100000000"
    assert ("too_large", reason) == (checked.status, checked.reason)
    assert 100_000_000 == MAX_PIXELS
    assert "too_large" == check_image(png((60000, 60000), 8, 2, []), 60000, 60000).status


def test_a_file_below_the_limit_is_decoded():
    """90 million pixels, over Pillow's own warning, of one bit each."""
    content = png((9500, 9500), 1, 0, [bytes(1188)] * 9500)
    assert Checked("ok", mode="1") == check_image(content, 9500, 9500)


def test_without_annotated_size_nothing_is_compared():
    """Width and height are optional."""
    assert Checked("ok", mode="RGB") == check_image(encoded(noise(), "PNG"), None, None)


@pytest.mark.parametrize("name", ["zTXt", "iCCP"])
def test_a_text_that_unpacks_to_more_than_the_limit_is_named(name: str):
    """A small file cannot fill the memory with what is no pixel."""
    bomb = png((2, 1), 8, 2, [bytes(6)], **{name: b"k\0\0" + zlib.compress(bytes(5_000_000))})
    checked = check_image(bomb, 2, 1)
    reason = "a text or profile unpacks to more than the limit, 1048576 bytes"
    assert ("too_large", reason) == (checked.status, checked.reason)


def test_nothing_that_pillow_says_reaches_the_screen_of_a_stage(tmp_path: Path):
    """Odd TIFFs and a large PNG make Pillow warn or log; a row's reason is where this is told."""
    tiff, samples = encoded(Image.new("LA", (4, 4)), "TIFF"), struct.pack("<HHI", 277, 3, 1)
    large = png((9500, 9500), 1, 0, [bytes(1188)] * 9500)
    many = tiff.replace(samples + b"\2", samples + b"\x99")
    for name, content in (("a-torn", tiff[:60]), ("b-many", many), ("c-large", large)):
        (tmp_path / name).write_bytes(content)
    script = (
        "import sys\nfrom pathlib import Path\nfrom bucolic.data.images import check_image\n"
        "from bucolic.data.pillow import prepare_pillow\nprepare_pillow()\n"
        "for path in sorted(Path(sys.argv[1]).iterdir()):\n"
        "    print(check_image(path.read_bytes(), None, None).status)\n"
    )
    command = [sys.executable, "-W", "always", "-c", script, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert (b"corrupt\ncorrupt\nok\n", b"") == (done.stdout, done.stderr)


def test_no_address_gets_into_a_reason():
    """An object's would differ each run."""
    assert "OSError" == str(_broken(OSError(f"cannot read {object()}")))
    assert "OSError: cannot read" == str(_broken(OSError("cannot read")))


def test_too_little_memory_is_no_fault_of_the_file():
    """It may pass, so it is never a row that stays."""
    script = (
        "import resource, sys\nfrom bucolic.data.images import check_image\n"
        "from bucolic.base.errors import TransientError\nfrom pathlib import Path\n"
        "from bucolic.data.pillow import prepare_pillow\nprepare_pillow()\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "content = sys.stdin.buffer.read()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 10**8, -1))\n"
        "try:\n    print(check_image(content, 9500, 9500))\n"
        "except TransientError as error:\n    print(error)\n"
    )
    large = png((9500, 9500), 1, 0, [bytes(1188)] * 9500)
    done = subprocess.run(
        [sys.executable, "-c", script], input=large, capture_output=True, check=True
    )
    said = b"no memory left to decode a picture of up to 100000000 pixels: free some\n"
    assert (said, b"") == (done.stdout, done.stderr)


@pytest.mark.parametrize("size", [(1, 60000), (60000, 1), (3, 5000)])
def test_a_line_of_pixels_is_not_scaled_up_both_ways(size: tuple[int, int]):
    """Its middle is what the square shows, and no more than that is ever made."""
    long = Image.new("RGB", size, (9, 9, 9))
    x, y = size[0] // 2, size[1] // 2
    long.paste((200, 0, 0), (x - 50, y - 50, x + 50, y + 50))
    part = middle(decode(encoded(long, "PNG")))
    assert (min(size), 16 * min(size)) == (min(part.size), max(part.size))
    square = Image.open(io.BytesIO(square_png(part, 64)))
    assert ((64, 64), (200, 0, 0)) == (square.size, square.getpixel((32, 32)))
    assert middle(part) is part


def test_a_picture_of_one_pixel_is_one_of_one_colour():
    """The smallest picture there is fills the square."""
    square = Image.open(io.BytesIO(square_png(decode(png((1, 1), 8, 2, [b"\x09\x08\x07"])), 64)))
    assert {(9, 8, 7)} == {colour for _, colour in square.getcolors()}


@pytest.mark.parametrize(
    ("bits", "planes", "status"), [(8, 3, "ok"), (16, 3, "unsupported"), (8, 1, "corrupt")]
)
def test_a_tiff_in_planes_is_whole_or_refused(bits: int, planes: int, status: str):
    """Pillow reads planes of 16 bits as noise, and one plane of three as red, without a word."""
    content = planar_tiff(bits, planes)
    checked = check_image(content, 4, 4)
    assert status == checked.status, checked.reason
    if status == "ok":
        assert (200, 40, 90) == decode(content).getpixel((1, 2))

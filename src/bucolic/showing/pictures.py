"""Pictures for people to look at: enlarged without smoothing, in grids with captions, as PNG."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from bucolic.base.errors import ParamsError
from bucolic.base.files import replacing
from bucolic.base.sheet import Pictures, Sheet

CELL_PX = 256
COLUMNS = 4
GAP_PX = 16
LABEL_PX = 140
LINE_PX = 20
FONT_PX = 16
OTHER_FORMATS = {".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif"}
PAPER, INK = (255, 255, 255), (30, 34, 40)
OWN = "bucolic;"  # how the Software of each picture began, whatever followed
SOFTWARE = f"{OWN} AI-generated: this picture was drawn by a model"


def save_pictures(
    drawn: Pictures,
    prompts: Sequence[str],
    out: Path,
    *,
    origin: Mapping[str, str],
    columns: int = COLUMNS,
) -> list[Path]:
    """Write pictures with their prompt and origin in the PNG's text; returns the paths written.

    Args:
        drawn: uint8 [prompts, n, 3, s, s], RGB.
        prompts: the prompts, in order.
        out: a name ending in .png for one grid with the prompts below one another; any other name
            is a folder, and gets one picture a file in its own size.
        origin: what else they were drawn with, by name: seed, model...
        columns: of a grid.

    Raises:
        ParamsError: a folder stands where a picture should, a file where a folder should, or, in a
            folder, a file of the user's own where a picture should.
    """
    require_place(out)
    with _told_in_one_line(out):
        if out.suffix.lower() != ".png":
            return _save_singles(drawn, prompts, out, origin)
        sheet = stacked([grid(pictures, columns) for pictures in drawn])
        return [save_png(out, sheet, _told("; ".join(prompts), origin))]


def _save_singles(
    drawn: Pictures, prompts: Sequence[str], out: Path, origin: Mapping[str, str]
) -> list[Path]:
    singles = [
        (out / f"{p:02d}-{i:03d}-{_slug(prompt)}.png", prompt, picture)
        for p, (prompt, pictures) in enumerate(zip(prompts, drawn, strict=True))
        for i, picture in enumerate(pictures)
    ]
    for path, _, _ in singles:
        _require_own(path)
    return [
        save_png(path, _image(picture), _told(prompt, origin)) for path, prompt, picture in singles
    ]


def save_sheet(path: Path, sheet: Sheet, *, cell_px: int = CELL_PX) -> Path:
    """Write the blocks of a sheet below one another as a PNG; returns its path.

    Args:
        path: replaced atomically.
        sheet: at least one block.
        cell_px: longest side of an enlarged picture.
    """
    parts = []
    for block in sheet:
        parts += [heading(block.title)] if block.title else []
        drawn = grid(
            block.pictures,
            block.columns,
            captions=block.captions,
            labels=block.labels,
            cell_px=cell_px,
        )
        parts.append(drawn)
    return save_png(path, stacked(parts))


def require_place(out: Path) -> None:
    """Refuse a place that cannot take pictures, before time is spent on drawing them.

    Raises:
        ParamsError: a folder stands where a picture should, a file where a folder should, the name
            is that of another format, or the system refuses the place.
    """
    single = out.suffix.lower() == ".png"
    with _told_in_one_line(out):
        if out.suffix.lower() in OTHER_FORMATS and not out.is_dir():
            raise ParamsError(
                f"{out}: pictures are PNG: choose a name that ends in .png, or a folder"
            )
        if single and out.is_dir():
            raise ParamsError(f"{out} is a folder: choose another name for the picture")
        for place in (out.parent if single else out, *out.parents):
            if place.exists() and not place.is_dir():
                raise ParamsError(f"{place} is a file: choose a folder for the pictures")


@contextmanager
def _told_in_one_line(out: Path) -> Iterator[None]:
    """No permission, no space, a name too long: the system's words with the place."""
    try:
        yield
    except OSError as error:
        raise ParamsError(f"{out}: {error.strerror or error}: choose another place") from None


def _require_own(path: Path) -> None:
    """Refuse to write over a file that no call of `save_pictures` made: its name is no wish."""
    if not path.is_symlink() and not path.is_file():
        return
    try:
        with Image.open(path) as image:
            software = image.info.get("Software")
    except (OSError, ValueError, SyntaxError):
        software = None
    if not str(software).startswith(OWN) or path.is_symlink():
        raise ParamsError(f"{path} is there and not bucolic's: choose another folder")


def wrapped(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> list[str]:
    """Break a text into lines no wider than `width_px`, where its words allow."""
    lines: list[str] = []
    for word in text.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def grid(
    pictures: Pictures,
    columns: int,
    *,
    captions: Sequence[str] = (),
    labels: Sequence[str] = (),
    cell_px: int = CELL_PX,
) -> Image.Image:
    """Lay out pictures row by row, each row left to right.

    Args:
        pictures: uint8 [n, 3, s, s], at least one.
        columns: pictures in a full row.
        captions: texts below the last pictures: n of them, or `columns` for the last row alone.
        labels: one text left of each row, or none at all.
        cell_px: longest side of an enlarged picture.
    """
    cells = [enlarged(picture, cell_px) for picture in pictures]
    texts = [""] * (len(cells) - len(captions)) + list(captions)
    rows = []
    for start in range(0, len(cells), columns):
        here = slice(start, start + columns)
        row = _row(cells[here], texts[here])
        rows.append(_labelled(row, labels[start // columns]) if labels else row)
    return stacked(rows)


def enlarged(picture: Pictures, side_px: int) -> Image.Image:
    """A uint8 [3, s, s] picture, each pixel a square as large as `side_px` allows, at least 1."""
    image = _image(picture)
    scale = max(1, side_px // image.width)
    return image.resize((scale * image.width, scale * image.height), Image.Resampling.NEAREST)


def heading(text: str) -> Image.Image:
    """A strip with one line of text."""
    width = round(_font().getlength(text)) + GAP_PX
    canvas = _canvas(width, LINE_PX + GAP_PX)
    canvas.paste(_written(text, width), (GAP_PX // 2, GAP_PX))
    return canvas


def stacked(parts: Sequence[Image.Image]) -> Image.Image:
    """Images below one another, flush left."""
    canvas = _canvas(max(part.width for part in parts), sum(part.height for part in parts))
    top = 0
    for part in parts:
        canvas.paste(part, (0, top))
        top += part.height
    return canvas


def save_png(path: Path, image: Image.Image, text: Mapping[str, str] | None = None) -> Path:
    """Write a PNG atomically, with `text` as its text chunks; returns the path.

    Raises:
        ParamsError: something else stands there; see `require_place`.
    """
    require_place(path)
    with replacing(path) as temporary:
        temporary.write_bytes(_png(image, text or {}))
    return path


def png_of(picture: Pictures, prompt: str, origin: Mapping[str, str]) -> bytes:
    """A picture uint8 [3, s, s] as a PNG that says where it comes from; see `save_pictures`."""
    return _png(_image(picture), _told(prompt, origin))


def _png(image: Image.Image, text: Mapping[str, str]) -> bytes:
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_itxt(key, value)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True, pnginfo=chunks)
    return buffer.getvalue()


def _row(cells: Sequence[Image.Image], captions: Sequence[str]) -> Image.Image:
    side = cells[0].width
    strips = [_written(caption, side) for caption in captions]
    text_px = max(strip.height for strip in strips)
    canvas = _canvas(len(cells) * (side + GAP_PX), side + GAP_PX + text_px)
    for column, (cell, strip) in enumerate(zip(cells, strips, strict=True)):
        left = GAP_PX // 2 + column * (side + GAP_PX)
        canvas.paste(cell, (left, GAP_PX // 2))
        canvas.paste(strip, (left, GAP_PX // 2 + side + GAP_PX // 4))
    return canvas


def _labelled(row: Image.Image, label: str) -> Image.Image:
    canvas = _canvas(LABEL_PX + row.width, row.height)
    canvas.paste(_written(label, LABEL_PX - GAP_PX), (GAP_PX // 2, GAP_PX // 2))
    canvas.paste(row, (LABEL_PX, 0))
    return canvas


def _written(text: str, width_px: int) -> Image.Image:
    """The text on a strip of its own, so that no word runs into the neighbour's place."""
    lines = wrapped(text, _font(), width_px)
    strip = _canvas(width_px, len(lines) * LINE_PX)
    draw = ImageDraw.Draw(strip)
    for at, line in enumerate(lines):
        draw.text((0, at * LINE_PX), line, fill=INK, font=_font())
    return strip


def _font() -> ImageFont.FreeTypeFont:
    # Pillow's own font: the same on every machine, none to install.
    font = ImageFont.load_default(FONT_PX)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _canvas(width_px: int, height_px: int) -> Image.Image:
    return Image.new("RGB", (width_px, height_px), PAPER)


def _image(picture: Pictures) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture.transpose(1, 2, 0)))


def origin_of(asked: Mapping[str, Any], digests: Mapping[str, str]) -> dict[str, str]:
    """What a PNG says of where its picture comes from: all that was asked for, and the digests.

    Of what was not asked for, None, the model's own choice holds.
    """
    return {name: str(value) for name, value in asked.items() if value is not None} | {**digests}


def _told(prompt: str, origin: Mapping[str, str]) -> dict[str, str]:
    return {"prompt": prompt, **origin, "Software": SOFTWARE}


def _slug(prompt: str) -> str:
    return re.sub(r"\W+", "-", prompt.lower()).strip("-")[:40] or "prompt"

"""Pictures laid out with their prompts below, enlarged, as one PNG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bucolic.files import replacing

CELL_PX = 224
GAP_PX = 20
LINE_PX = 21
FONT_PX = 16
TITLE_PX = 18
LABEL_PX = 140
PAPER, INK, SOFT_INK = (255, 255, 255), (30, 34, 40), (80, 87, 96)


@dataclass(frozen=True)
class Section:
    """A titled block of pictures, each with its own prompt.

    Attributes:
        title: line above the block.
        pictures: uint8 [n, 3, s, s].
        prompts: n texts.
    """

    title: str
    pictures: np.ndarray
    prompts: Sequence[str]


def save_samples(path: Path, sections: Sequence[Section], *, columns: int = 4) -> None:
    """Write blocks of pictures with the prompt under each, `columns` pictures a row."""
    blocks = [_block(section, columns) for section in sections if len(section.pictures)]
    _save(path, _stack(blocks))


def save_comparison(path: Path, arms: Mapping[str, np.ndarray], prompts: Sequence[str]) -> None:
    """Write one row an arm and one column a prompt, labels left and prompts below.

    Args:
        path: the PNG.
        arms: label to uint8 [n, 3, s, s].
        prompts: n texts.
    """
    rows = [_labelled_row(label, pictures) for label, pictures in arms.items()]
    _save(path, _stack([*rows, _row_of_prompts(prompts, left_px=LABEL_PX)]))


def enlarged(picture: np.ndarray, size_px: int) -> Image.Image:
    """A uint8 [3, s, s] picture at `size_px`, smoothly interpolated."""
    image = Image.fromarray(picture.transpose(1, 2, 0))
    return image.resize((size_px, size_px), Image.Resampling.BICUBIC)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width_px: int) -> list[str]:
    """Break a text into lines no wider than `width_px`, where its words allow."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width_px or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _block(section: Section, columns: int) -> Image.Image:
    parts = [_line(section.title, _width(columns))]
    for at in range(0, len(section.pictures), columns):
        prompts = section.prompts[at : at + columns]
        parts.append(_row_of_pictures(section.pictures[at : at + columns], columns))
        parts.append(_row_of_prompts(prompts))
    return _stack(parts)


def _line(title: str, width_px: int) -> Image.Image:
    canvas = _canvas(width_px, 2 * LINE_PX)
    ImageDraw.Draw(canvas).text((GAP_PX, LINE_PX // 2), title, fill=INK, font=_font(TITLE_PX))
    return canvas


def _row_of_pictures(pictures: np.ndarray, columns: int, left_px: int = 0) -> Image.Image:
    canvas = _canvas(left_px + _width(columns), CELL_PX + GAP_PX // 2)
    for column, picture in enumerate(pictures):
        canvas.paste(enlarged(picture, CELL_PX), (left_px + _left(column), GAP_PX // 2))
    return canvas


def _labelled_row(label: str, pictures: np.ndarray) -> Image.Image:
    row = _row_of_pictures(pictures, len(pictures), left_px=LABEL_PX)
    _write(row, wrapped(label, _font(FONT_PX), LABEL_PX - GAP_PX), GAP_PX, CELL_PX // 2, INK)
    return row


def _row_of_prompts(prompts: Sequence[str], left_px: int = 0) -> Image.Image:
    texts = [wrapped(prompt, _font(FONT_PX), CELL_PX) for prompt in prompts]
    height = max(len(lines) for lines in texts) * LINE_PX + GAP_PX
    canvas = _canvas(left_px + _width(len(prompts)), height)
    for column, lines in enumerate(texts):
        _write(canvas, lines, left_px + _left(column), GAP_PX // 4, SOFT_INK)
    return canvas


def _write(
    canvas: Image.Image, lines: Sequence[str], left: int, top: int, ink: tuple[int, int, int]
) -> None:
    draw = ImageDraw.Draw(canvas)
    for at, line in enumerate(lines):
        draw.text((left, top + at * LINE_PX), line, fill=ink, font=_font(FONT_PX))


def _stack(parts: Sequence[Image.Image]) -> Image.Image:
    canvas = _canvas(max(part.width for part in parts), sum(part.height for part in parts))
    top = 0
    for part in parts:
        canvas.paste(part, (0, top))
        top += part.height
    return canvas


def _save(path: Path, canvas: Image.Image) -> None:
    with replacing(path) as temporary:
        canvas.save(temporary, "PNG", optimize=True)


def _font(size_px: int) -> ImageFont.FreeTypeFont:
    # Pillow's own font: the same on every machine, none to install.
    font = ImageFont.load_default(size_px)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _canvas(width_px: int, height_px: int) -> Image.Image:
    return Image.new("RGB", (width_px, height_px), PAPER)


def _width(columns: int) -> int:
    return GAP_PX + columns * (CELL_PX + GAP_PX)


def _left(column: int) -> int:
    return GAP_PX + column * (CELL_PX + GAP_PX)

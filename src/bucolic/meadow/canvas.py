"""A canvas of picture pixels, painted at twice the size and halved at the end to smooth edges."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from bucolic.meadow.palette import RGB
from bucolic.meadow.shapes import Polygon, ellipse

OVERSAMPLING = 2
Stops = Sequence[tuple[float, RGB]]


class Canvas:
    """A square picture of `size_px`; coordinates are picture pixels, y pointing down."""

    def __init__(self, size_px: int, stops: Stops) -> None:
        """Fill with a vertical gradient through `stops`, pairs of row and colour."""
        self.size_px = size_px
        side = size_px * OVERSAMPLING
        rows = (np.arange(side) + 0.5) / OVERSAMPLING
        places = [row for row, _ in stops]
        channels = [
            np.interp(rows, places, [colour[channel] for _, colour in stops])
            for channel in range(3)
        ]
        column = np.rint(np.stack(channels, axis=-1)).astype(np.uint8)
        self._image = Image.fromarray(np.repeat(column[:, None, :], side, axis=1))
        self._draw = ImageDraw.Draw(self._image)

    def polygon(self, outline: Polygon, fill: RGB) -> None:
        """Fill a polygon."""
        self._draw.polygon(_flat(outline), fill=fill)

    def line(self, path: Polygon, fill: RGB, width: float, *, closed: bool = False) -> None:
        """Draw a line `width` picture pixels wide through the points of `path`."""
        if closed:
            path = np.concatenate([path, path[:1]])
        self._draw.line(_flat(path), fill=fill, width=round(width * OVERSAMPLING), joint="curve")

    def ellipse(self, x: float, y: float, rx: float, ry: float, fill: RGB) -> None:
        """Fill an upright ellipse around (x, y)."""
        self.polygon(ellipse(x, y, rx, ry, corners=28), fill)

    def rectangle(self, left: float, top: float, right: float, bottom: float, fill: RGB) -> None:
        """Fill an upright rectangle."""
        corners = np.array([left, top, right, bottom]) * OVERSAMPLING
        self._draw.rectangle(corners.tolist(), fill=fill)

    def finish(self) -> Image.Image:
        """The picture, RGB, `size_px` on a side."""
        return self._image.reduce(OVERSAMPLING)


def _flat(path: Polygon) -> list[float]:
    flat: list[float] = (path * OVERSAMPLING).ravel().tolist()
    return flat

"""Outlines as polygons: float64 [n, 2] arrays of x and y, the y axis pointing up.

Everything drawn or annotated is a polygon from here, so masks and pixels share one geometry.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

Polygon = NDArray[np.float64]


def points(*corners: tuple[float, float]) -> Polygon:
    """A polygon through the given corners."""
    return np.array(corners, dtype=np.float64)


def box(left: float, right: float, bottom: float, top: float) -> Polygon:
    """An upright rectangle."""
    return points((left, bottom), (right, bottom), (right, top), (left, top))


def ellipse(
    x: float, y: float, rx: float, ry: float, *, tilt_deg: float = 0.0, corners: int = 20
) -> Polygon:
    """An ellipse around (x, y), turned counter-clockwise by `tilt_deg` degrees."""
    flat = _unit_circle(corners) * np.array([rx, ry])
    return np.asarray((_turned(flat, tilt_deg) if tilt_deg else flat) + np.array([x, y]))


def barrel(x: float, y: float, rx: float, ry: float, *, power: float = 3.0) -> Polygon:
    """A superellipse, |x/rx|^power + |y/ry|^power = 1: between an ellipse and a rectangle."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.stack(
        [
            x + rx * np.sign(cosine) * np.abs(cosine) ** (2 / power),
            y + ry * np.sign(sine) * np.abs(sine) ** (2 / power),
        ],
        axis=1,
    )


def cloud(x: float, y: float, rx: float, ry: float, *, bumps: int, depth: float = 0.14) -> Polygon:
    """An ellipse with a scalloped edge, as of wool; `depth` is the share the notches cut in."""
    angle = np.linspace(0, 2 * np.pi, 6 * bumps, endpoint=False)
    radius = 1 - depth + depth * np.abs(np.sin(bumps * angle / 2))
    return np.stack([x + rx * radius * np.cos(angle), y + ry * radius * np.sin(angle)], axis=1)


def limb(x: float, top: float, wide: float, narrow: float, *, bottom: float = 0.0) -> Polygon:
    """A leg centred at x: `wide` across at the top, `narrow` at the bottom."""
    return points(
        (x - narrow / 2, bottom), (x + narrow / 2, bottom), (x + wide / 2, top), (x - wide / 2, top)
    )


@cache
def _unit_circle(corners: int) -> Polygon:
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _turned(polygon: Polygon, degrees: float) -> Polygon:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return np.asarray(polygon @ turn)

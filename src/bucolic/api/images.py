"""Pictures that a caller may pass to the public API, as the pipeline would take them in.

A file is shown as the images stage shows it (data/display.py), an opened picture likewise as far as
Pillow still knows; of both the centre square is brought to the model's size, as the shard stage
does where `shard` has its defaults. CLIP sees them whole, as in the embed stage.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from bucolic.api.arguments import is_path, path_of, shown
from bucolic.base.errors import DataError, ParamsError, as_transient
from bucolic.data.display import UnshownError, middle, show
from bucolic.data.images import decode
from bucolic.data.squares import to_square

Image = str | os.PathLike[str] | Pillow.Image | NDArray[np.uint8]
Images = Image | Sequence[Image]


def images_of(name: str, given: object) -> list[Pillow.Image]:
    """RGB pictures of one, or of several in an order.

    Args:
        name: of the argument, for messages.
        given: a path, a Pillow image, an array uint8 [3, h, w]; a list of these, or [n, 3, h, w].

    Raises:
        DataError: a file is not there, or no picture that has one faithful form.
        ParamsError: it is nothing of these, or an empty list.
    """
    several = isinstance(given, list | tuple) or (isinstance(given, np.ndarray) and given.ndim == 4)
    pictures: Iterable[object] = given if several else [given]  # type: ignore[assignment] # iterable
    found = [_image(name, picture) for picture in pictures]
    if not found:
        raise ParamsError(f"{name} is empty: give a picture")
    return found


def one_image(name: str, given: object) -> Pillow.Image:
    """The RGB picture of one path, Pillow image or array uint8 [3, h, w]; see `images_of`."""
    return _image(name, given)


def pixels_of(images: Iterable[Pillow.Image], size_px: int) -> NDArray[np.uint8]:
    """Centre squares at the model's size: uint8 [n, 3, size_px, size_px]."""
    squares = [np.asarray(to_square(image, size_px)) for image in images]
    return np.stack(squares).transpose(0, 3, 1, 2)


def _image(name: str, given: object) -> Pillow.Image:
    if isinstance(given, Pillow.Image):
        return middle(_shown(name, given))
    if is_path(given):
        return middle(_read(path_of(name, given)))
    if isinstance(given, np.ndarray) and _is_picture(given):
        return middle(Pillow.fromarray(np.ascontiguousarray(given.transpose(1, 2, 0))))
    wanted = "a path, a Pillow image or an array uint8 [3, h, w]"
    raise ParamsError(f"{name} must be {wanted}, or a list of these, not {shown(given)}")


def _is_picture(array: NDArray[Any]) -> bool:
    """Whether it is uint8 [3, h, w] with at least one pixel."""
    return array.dtype == np.uint8 and array.ndim == 3 and len(array) == 3 and array.size > 0


def _shown(name: str, image: Pillow.Image) -> Pillow.Image:
    if 0 in image.size:
        raise DataError(f"{name}: a picture without a pixel")
    try:
        return show(image)
    except (DataError, OSError, ValueError, SyntaxError) as error:  # as Pillow's decoders raise
        raise DataError(f"{name}: {error}") from None


def _read(path: Path) -> Pillow.Image:
    try:
        return decode(path.read_bytes())
    except UnshownError as error:
        raise DataError(f"{path}: {error}") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        passing = as_transient(error, str(path)) if isinstance(error, OSError) else None
        told = getattr(error, "strerror", None) or error
        raise passing or DataError(f"{path}: {told}: give the name of a picture") from None

"""What a caller may pass to the public API: converted to one form, or refused in one line.

Python users pass what they have at hand: numpy's integers, arrays of any float type, one text in
place of a list. What is meant without doubt is taken; nothing else reaches the networks, where it
would end in an error of theirs or, worse, in a picture.
"""

import math
import operator
import os
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from bucolic.base.errors import DataError, ParamsError

COUNTS = range(1, 100_001)  # of pictures for each prompt
STEPS = range(1, 10_001)  # of the flow
FRAMES = range(1, 1001)  # on the way from one picture to another
CANDIDATES = range(1, 101)  # drawn for each picture that is kept
MOST_BITS = 1024  # of a seed; Python turns no integer of over 4,300 digits into text
SHOWN = 80  # characters of a refused value in its message


def path_of(name: str, given: object) -> Path:
    """A path as str or os.PathLike; a leading ~ is the user's home.

    Raises:
        ParamsError: it is neither, or nobody knows whose home is meant.
    """
    if not is_path(given):
        raise ParamsError(f"{name} must be a path (str or pathlib.Path), not {shown(given)}")
    try:
        return Path(given).expanduser()
    except RuntimeError as error:
        raise ParamsError(f"{name} {shown(given)}: {error}") from None


def is_path(given: object) -> TypeGuard[str | os.PathLike[str]]:
    """Whether it is a path, and not one in bytes."""
    return isinstance(given, str | os.PathLike) and not isinstance(os.fspath(given), bytes)


def prompts_of(given: object) -> list[str]:
    """The prompts of one text, or of texts in an order: a list, a Series, a generator.

    Raises:
        ParamsError: there is none, one is empty or no text, or they have no order.
    """
    if isinstance(given, str):
        return [_prompt(1, given)]
    if not isinstance(given, Iterable) or _is_no_list(given):
        raise ParamsError(f"prompts must be a text or a list of texts, not {shown(given)}")
    prompts = [_prompt(place, prompt) for place, prompt in enumerate(given, start=1)]
    if not prompts:
        raise ParamsError("prompts is empty: say what to draw")
    return prompts


def _is_no_list(given: Iterable[object]) -> bool:
    # Iterating over a table gives its column names, over a mapping its keys: no prompts.
    return isinstance(given, bytes | Mapping | AbstractSet) or getattr(given, "ndim", 1) != 1


def _prompt(place: int, given: object) -> str:
    if not isinstance(given, str):
        raise ParamsError(f"prompt number {place} must be a text, not {shown(given)}")
    if not given.strip():
        raise ParamsError(f"prompt number {place} is empty: say what to draw")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise ParamsError(f"prompt number {place} is not valid Unicode: {shown(given)}") from None
    return str(given)


def whole_number(name: str, given: object, within: range | None = None) -> int:
    """An integer, numpy's included; 4.0 and True are none.

    Raises:
        ParamsError: it is no integer, outside of `within`, or without that of over 1,024 bits.
    """
    wanted = "a whole number" + (f" from {within[0]} to {within[-1]}" if within else "")
    if _is_truth(given):
        raise _unfit(name, wanted, given)
    try:
        number = operator.index(given)  # type: ignore[arg-type] # whether it can is the question
    except TypeError:
        raise _unfit(name, wanted, given) from None
    if within and number not in within:
        raise _unfit(name, wanted, given)
    if number.bit_length() > MOST_BITS:
        raise _unfit(name, f"{wanted} of at most {MOST_BITS} bits", given)
    return number


def finite_number(name: str, given: object, *, least: float, most: float = math.inf) -> float:
    """A real number, numpy's included; NaN, infinity and True are none.

    Raises:
        ParamsError: it is none, below `least` or above `most`.
    """
    wanted = f"a finite number of at least {least:g}"
    if most < math.inf:
        wanted = f"a number from {least:g} to {most:g}"
    if _is_truth(given) or not isinstance(given, Real):
        raise _unfit(name, wanted, given)
    try:
        number = float(given)
    except OverflowError:
        raise _unfit(name, wanted, given) from None
    if not (math.isfinite(number) and least <= number <= most):
        raise _unfit(name, wanted, given)
    return number


def _is_truth(given: object) -> bool:
    """Whether it is True or False, also as numpy's or torch's scalar."""
    return isinstance(given, bool) or str(getattr(given, "dtype", "")) in {"bool", "torch.bool"}


def vectors_of(name: str, given: object, width: int) -> NDArray[np.float32]:
    """A copy of embeddings [n, width] of any float type as float32, n at least 1.

    Raises:
        DataError: they have another type or shape, or hold a NaN or what float32 cannot hold.
    """
    wanted = f"floats [n, {width}]"
    array = _array(name, given, wanted)
    fits = np.issubdtype(array.dtype, np.floating) and array.shape[1:] == (width,)
    _require(fits and len(array), name, wanted, array)
    with np.errstate(over="ignore"):
        vectors = np.array(array, np.float32, order="C")
    if (broken := np.flatnonzero(~np.isfinite(vectors).all(axis=1))).size:
        raise DataError(f"{name}: row {broken[0]} holds a value that is not finite")
    return vectors


def pictures_of(name: str, given: object, size_px: int) -> NDArray[np.uint8]:
    """A copy of pictures uint8 [n, 3, size_px, size_px], n at least 1.

    Raises:
        DataError: they have another type or shape.
    """
    wanted = f"uint8 [n, 3, {size_px}, {size_px}]"
    array = _array(name, given, wanted)
    fits = array.dtype == np.uint8 and array.shape[1:] == (3, size_px, size_px)
    _require(fits and len(array), name, wanted, array)
    return np.array(array, np.uint8, order="C")


def _array(name: str, given: object, wanted: str) -> NDArray[Any]:
    try:
        return np.atleast_1d(np.asarray(given))
    except (TypeError, ValueError, RuntimeError):  # ragged lists, tensors that are not on the CPU
        raise DataError(f"{name} must be {wanted}, not {shown(given)}") from None


def _require(fits: object, name: str, wanted: str, array: NDArray[Any]) -> None:
    if not fits:
        raise DataError(f"{name} must be {wanted}, not {array.dtype} {list(array.shape)}")


def _unfit(name: str, wanted: str, given: object) -> ParamsError:
    return ParamsError(f"{name} must be {wanted}, not {shown(given)}")


def shown(given: object) -> str:
    """What was given, as Python writes it, on one line, cut where it is long."""
    try:
        text = repr(given)
    except Exception:  # noqa: BLE001 - of objects of any class, or of too long a number
        text = f"a value of type {type(given).__name__}"
    return cut(" ".join(text.split()))


def cut(text: str) -> str:
    """The beginning of a text that is too long for a message."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."

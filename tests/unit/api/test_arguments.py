"""What the public API takes from its callers, and what it refuses in one line."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from bucolic.api.arguments import (
    finite_number,
    path_of,
    pictures_of,
    prompts_of,
    vectors_of,
    whole_number,
)
from bucolic.base.errors import DataError, ParamsError

FEW = range(1, 11)


@pytest.mark.parametrize(
    "given",
    [
        ["a cow", "two"],
        ("a cow", "two"),
        np.array(["a cow", "two"]),
        pd.Series(["a cow", "two"]),
        (text for text in ("a cow", "two")),
    ],
)
def test_texts_in_an_order_are_prompts(given: Any):
    """A list, tuple, array, Series or generator of texts."""
    assert prompts_of(given) == ["a cow", "two"]


def test_one_text_is_one_prompt():
    """No letter of it is drawn on its own."""
    assert prompts_of("two cows") == ["two cows"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (7, "prompts must be a text or a list of texts, not 7"),
        (None, "prompts must be a text or a list of texts, not None"),
        (b"a cow", "not b'a cow'"),
        ({"a cow": 1}, "not {'a cow': 1}"),
        ({"a cow"}, "not {'a cow'}"),
        (pd.DataFrame({"prompt": ["a cow"]}), "prompts must be a text or a list of texts, not "),
        (np.array("a cow"), "prompts must be a text or a list of texts, not "),
        ([], "prompts is empty: say what to draw"),
        (iter(()), "prompts is empty: say what to draw"),
        ("", "prompt number 1 is empty: say what to draw"),
        (["a cow", " \n"], "prompt number 2 is empty: say what to draw"),
        ([1], "prompt number 1 must be a text, not 1"),
        (["a cow", None], "prompt number 2 must be a text, not None"),
        (["a cow", b"a cow"], "prompt number 2 must be a text, not b'a cow'"),
        ([["a cow"]], "prompt number 1 must be a text, not ['a cow']"),
        (["a cow", "\udcff"], r"prompt number 2 is not valid Unicode: '\udcff'"),
    ],
)
def test_what_is_no_prompt_is_refused(given: Any, said: str):
    """One line says which prompt, and what was given."""
    _refused(ParamsError, said, prompts_of, given)


@pytest.mark.parametrize("given", [4, np.int64(4), np.uint8(4), np.array(4), torch.tensor(4)])
def test_integers_of_any_kind_are_whole_numbers(given: Any):
    """Python's, numpy's and torch's become Python's."""
    assert (whole_number("n", given, FEW), type(whole_number("n", given))) == (4, int)


def test_a_whole_number_without_limits_may_be_anything():
    """Seeds are of any size."""
    assert (whole_number("seed", -1), whole_number("seed", 2**80)) == (-1, 2**80)


@pytest.mark.parametrize(
    "given",
    [4.0, 4.5, "4", None, True, np.True_, [4], np.float64(4), 0, -1, 11, 2**70, float("nan")],
)
def test_what_is_no_whole_number_is_refused(given: Any):
    """Floats, truth values, texts and what lies outside: the name, the limits, the value."""
    said = f"n must be a whole number from 1 to 10, not {given!r}"
    _refused(ParamsError, said, whole_number, "n", given, FEW)


@pytest.mark.parametrize("given", [2, 2.0, np.float32(2), np.int64(2)])
def test_numbers_of_any_kind_are_finite_numbers(given: Any):
    """Python's and numpy's become floats."""
    number = finite_number("guidance", given, least=0)
    assert (number, type(number)) == (2.0, float)


@pytest.mark.parametrize(
    "given",
    [float("nan"), float("inf"), np.float32("nan"), -0.1, "2", None, True, [2.0], 2j, 10**400],
)
def test_what_is_no_finite_number_is_refused(given: Any):
    """NaN, infinity, texts and what is too low: the name, the limit, the value."""
    said = "guidance must be a finite number of at least 0, not "
    _refused(ParamsError, said, finite_number, "guidance", given, least=0)


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_vectors_of_any_float_type_are_taken(kind: Any):
    """They come as float32 copies in row order, whatever their layout."""
    given = np.arange(6, dtype=kind).reshape(3, 2).T[:, ::-1]
    vectors = vectors_of("v", given, 3)
    assert vectors.tolist() == [[4.0, 2.0, 0.0], [5.0, 3.0, 1.0]]
    assert (vectors.dtype, vectors.flags["C_CONTIGUOUS"]) == (np.float32, True)


def test_a_caller_who_goes_on_writing_changes_nothing():
    """What is returned is a copy: another thread may reuse its array."""
    vectors, pictures = np.ones((1, 2), np.float32), np.ones((1, 3, 8, 8), np.uint8)
    taken = vectors_of("v", vectors, 2), pictures_of("p", pictures, 8)
    vectors[:], pictures[:] = 7, 7
    assert [array.max() for array in taken] == [1, 1]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 5), np.float32), "v must be floats [n, 3], not float32 [2, 5]"),
        (np.zeros(3), "v must be floats [n, 3], not float64 [3]"),
        (np.zeros((2, 3, 1)), "v must be floats [n, 3], not float64 [2, 3, 1]"),
        (np.zeros((0, 3)), "v must be floats [n, 3], not float64 [0, 3]"),
        (np.zeros((2, 3), np.int64), "v must be floats [n, 3], not int64 [2, 3]"),
        (np.zeros((2, 3), complex), "v must be floats [n, 3], not complex128 [2, 3]"),
        (np.array([["1", "2", "3"]]), "v must be floats [n, 3], not <U1 [1, 3]"),
        (None, "v must be floats [n, 3], not object [1]"),
        ([[1.0, 2.0], [3.0]], "v must be floats [n, 3], not [[1.0, 2.0], [3.0]]"),
        (torch.zeros(1, 3, requires_grad=True), "v must be floats [n, 3], not tensor"),
        (np.array([[1, 2, 3], [1, np.nan, 3]]), "v: row 1 holds a value that is not finite"),
        (np.array([[np.inf, 2, 3]]), "v: row 0 holds a value that is not finite"),
        (np.array([[1e300, 2, 3]]), "v: row 0 holds a value that is not finite"),
    ],
)
def test_other_vectors_are_refused(given: Any, said: str):
    """One line says what they must be and what they are."""
    _refused(DataError, said, vectors_of, "v", given, 3)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros((2, 8, 8, 3), np.uint8), "p must be uint8 [n, 3, 8, 8], not uint8 [2, 8, 8, 3]"),
        (np.zeros((2, 3, 16, 16), np.uint8), "not uint8 [2, 3, 16, 16]"),
        (np.zeros((3, 8, 8), np.uint8), "not uint8 [3, 8, 8]"),
        (np.zeros((0, 3, 8, 8), np.uint8), "not uint8 [0, 3, 8, 8]"),
        (np.zeros((2, 3, 8, 8), np.float32), "not float32 [2, 3, 8, 8]"),
        (None, "p must be uint8 [n, 3, 8, 8], not object [1]"),
    ],
)
def test_other_pictures_are_refused(given: Any, said: str):
    """Channels last, another side, no picture, floats."""
    _refused(DataError, said, pictures_of, "p", given, 8)


def test_a_folder_may_be_a_text_and_begin_at_home(monkeypatch: pytest.MonkeyPatch):
    """~ is the user's home; a Path is taken as it is."""
    monkeypatch.setenv("HOME", "/home/shepherd")
    assert path_of("folder", "~/models") == Path("/home/shepherd/models")
    assert path_of("folder", Path("models")) == path_of("folder", "models") == Path("models")


@pytest.mark.parametrize("given", [None, 7, b"models", ["models"], "~no-such-user-anywhere/x"])
def test_what_is_no_folder_is_refused(given: Any):
    """Neither str nor PathLike, or of a user whom nobody knows."""
    _refused(ParamsError, "folder", partial(path_of, "folder"), given)


def test_a_long_value_is_cut_in_the_message():
    """The line stays a line, whatever was given."""
    with pytest.raises(ParamsError) as caught:
        prompts_of(np.zeros((50, 50)))
    assert len(str(caught.value)) < 150


def _refused(
    kind: type[Exception], said: str, check: Callable[..., Any], *given: Any, **named: Any
) -> None:
    with pytest.raises(kind) as caught:
        check(*given, **named)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "torch" not in message


@pytest.mark.parametrize("given", [10**5000, -(10**5000), torch.tensor(data=True)], ids="abc")
@pytest.mark.parametrize("limits", [None, range(1, 10)])
def test_a_number_that_python_will_not_write_and_a_truth_value_are_refused_in_one_line(
    given: Any, limits: range | None
):
    """Python turns no integer of over 4,300 digits into text, which seeds and messages need."""
    with pytest.raises(ParamsError, match="seed must be a whole number") as caught:
        whole_number("seed", given, limits)
    assert 1 == len(str(caught.value).splitlines())


def test_what_cannot_even_be_written_is_named_by_its_type():
    """A value whose own text fails, alone or in a list, is still refused in one line."""
    with pytest.raises(ParamsError, match="not a value of type list"):
        prompts_of([[10**5000]])

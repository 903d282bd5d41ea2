"""The store of vectors by content."""

import resource
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from bucolic.base.errors import TransientError
from bucolic.data import vector_store
from bucolic.data.vector_store import VectorStore


class Counter:
    """Computes a vector from a key and remembers which positions it was asked for."""

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys
        self.asked: list[int] = []

    def __call__(self, places: list[int]) -> np.ndarray:
        """Remember and compute."""
        self.asked += places
        return np.array([[len(self.keys[p]), ord(self.keys[p][0])] for p in places], np.float32)


def in_parts(
    compute: Callable[[list[int]], np.ndarray],
) -> Callable[[Iterable[list[int]]], Iterator[np.ndarray]]:
    """What computes one part, of all."""
    return lambda parts: map(compute, parts)


def test_only_missing_keys_are_computed(tmp_path: Path):
    """Equal keys are computed once, stored ones never again, and the order is the caller's."""
    keys = ["bb", "a", "bb", "ccc"]
    first = Counter(keys)
    vectors, new = VectorStore(tmp_path).complete(keys, in_parts(first))
    assert ([0, 1, 3], 3) == (first.asked, new)
    assert [[2, 98], [1, 97], [2, 98], [3, 99]] == vectors.tolist()
    more = ["d", "ccc", "a"]
    second = Counter(more)
    vectors, new = VectorStore(tmp_path).complete(more, in_parts(second))
    assert ([0], 1) == (second.asked, new)
    assert [[1, 100], [3, 99], [1, 97]] == vectors.tolist()


def test_what_is_alike_can_be_computed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The order decides which share a part, and neither vectors nor their places."""
    monkeypatch.setattr(vector_store, "ITEMS_PER_PART", 2)
    keys = ["bb", "a", "ccc", "d", "ee"]
    parts = []

    def compute(places: list[int]) -> np.ndarray:
        parts.append([keys[place] for place in places])
        return np.array([[len(keys[place])] for place in places], np.float32)

    vectors, new = VectorStore(tmp_path).complete(
        keys, in_parts(compute), lambda places: sorted(places, key=lambda place: len(keys[place]))
    )
    assert [["a", "d"], ["bb", "ee"], ["ccc"]] == parts
    assert (5, [2, 1, 3, 1, 2]) == (new, vectors[:, 0].tolist())


def test_no_keys_give_no_rows(tmp_path: Path):
    """Nothing to embed is an array of no rows and the right width, not an error."""
    vectors, new = VectorStore(tmp_path).complete(
        [], in_parts(lambda _: np.empty((0, 5), np.float32))
    )
    assert ((0, 5), 0) == (vectors.shape, new)


def test_a_killed_run_loses_only_the_part_it_was_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Parts finished before an interruption are found by the next run."""
    monkeypatch.setattr(vector_store, "ITEMS_PER_PART", 2)
    keys = [f"{i}" for i in range(6)]

    def stops(places: list[int]) -> np.ndarray:
        if 4 in places:
            raise KeyboardInterrupt
        return np.array([[p] for p in places], np.float32)

    with pytest.raises(KeyboardInterrupt):
        VectorStore(tmp_path).complete(keys, in_parts(stops))
    again = Counter(keys)
    vectors, new = VectorStore(tmp_path).complete(keys, in_parts(lambda p: again(p)[:, :1]))
    assert ([4, 5], 2) == (again.asked, new)
    assert [0, 1, 2, 3, 1, 1] == vectors[:, 0].tolist()


def test_a_part_that_cannot_be_read_costs_time_alone(tmp_path: Path):
    """A damaged part is left out, and its vectors are computed again."""
    keys = ["a", "b"]
    VectorStore(tmp_path).complete(keys, in_parts(Counter(keys)))
    part = next(tmp_path.glob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:50])
    again = Counter(keys)
    _, new = VectorStore(tmp_path).complete(keys, in_parts(again))
    assert 2 == new == len(again.asked)


def test_damaged_vectors_are_computed_again(tmp_path: Path):
    """Wherever in the file the damage is: no vector comes back as another."""
    keys = [f"{'k' * (i % 50)}{i}" for i in range(300)]
    expected, _ = VectorStore(tmp_path).complete(keys, in_parts(Counter(keys)))
    part = next(tmp_path.glob("part-*.parquet"))
    whole, draw, computed = part.read_bytes(), np.random.default_rng(0), 0
    for _ in range(100):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = draw.integers(0, len(whole), 8)
        damaged[places] ^= 255
        part.write_bytes(damaged.tobytes())
        vectors, new = VectorStore(tmp_path).complete(keys, in_parts(Counter(keys)))
        assert np.array_equal(expected, vectors)
        computed += new
    assert computed > 50 * len(keys)


def test_a_part_that_cannot_be_read_for_now_is_not_left_out(tmp_path: Path):
    """What is whole on another day is not computed again: the stage ends for now."""
    keys = ["a", "b"]
    VectorStore(tmp_path).complete(keys, in_parts(Counter(keys)))
    path = next(tmp_path.glob("part-*.parquet"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, limits[1]))
    try:
        with pytest.raises(TransientError, match=f"too many open files at {path}: raise"):
            vector_store._read_part(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)

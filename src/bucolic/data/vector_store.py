"""A store of vectors by content: what was embedded once, by anyone here, is never embedded again.

Append-only Parquet parts in one folder a CLIP, precision and device kind; each part is written
whole or not at all, so that a killed run loses at most the part it was working on, and of several
workers those that were ready behind it. A part that cannot be read, or whose pages are not those
of their checksums, is left out with a warning: the store saves time and decides nothing.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bucolic.base.errors import DataError, as_transient
from bucolic.base.files import fingerprint
from bucolic.base.progress import Progress
from bucolic.data.embeddings import Vectors, to_arrow, to_numpy
from bucolic.data.tables import read_table, write_table

logger = logging.getLogger(__name__)
VERSION = "1"
ITEMS_PER_PART = 1024  # of a worker
METADATA = {"bucolic.format": "vectors", "bucolic.version": VERSION}


class VectorStore:
    """Vectors by key, on disk. Several processes may add to it at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Add one part: as many keys as rows of the float32 [n, e] vectors."""
        table = pa.table({"key": pa.array(keys, pa.string()), "vector": to_arrow(vectors)})
        path = self._folder / f"part-{fingerprint(list(keys))}.parquet"
        named = table.replace_schema_metadata(METADATA)
        write_table(path, named, vectors=("vector",), checksums=True)

    def complete(
        self,
        keys: Sequence[str],
        compute: Callable[[Iterable[list[int]]], Iterator[Vectors]],
        order: Callable[[list[int]], list[int]] = list,
    ) -> tuple[Vectors, int]:
        """Vectors of all keys in their order, computing and keeping those that are missing.

        Args:
            keys: content keys; equal ones share a vector.
            compute: from parts, each of positions in `keys`, to the vectors of each, float32
                [positions, e].
            order: from the positions that are computed, ascending, to their order; some share a
                part.

        Returns:
            The vectors, float32 [n, e], and how many were computed.
        """
        if not keys:
            return next(compute([[]])), 0
        numbers = {key: number for number, key in enumerate(dict.fromkeys(keys))}
        rows = np.fromiter((numbers[key] for key in keys), np.int64, len(keys))
        _, firsts = np.unique(rows, return_index=True)
        found = _Gathered(len(numbers))
        for kept, vectors in self._parts():
            known = [place for place, key in enumerate(kept) if key in numbers]
            found.put([numbers[kept[place]] for place in known], vectors[known])
        missing = order(firsts[~found.there].tolist())
        parts = [missing[at : at + ITEMS_PER_PART] for at in range(0, len(missing), ITEMS_PER_PART)]
        progress = Progress("embedded", len(missing))
        for places, vectors in zip(parts, compute(parts), strict=True):
            self.add([keys[place] for place in places], vectors)
            found.put(rows[places], vectors)
            progress.add(len(places))
        progress.close()
        return found.at(rows), len(missing)

    def _parts(self) -> Iterator[tuple[list[str], Vectors]]:
        """Keys and vectors of each part that can be read."""
        yield from filter(None, map(_read_part, sorted(self._folder.glob("part-*.parquet"))))


def _read_part(path: Path) -> tuple[list[str], Vectors] | None:
    try:
        table = read_table(path, "vectors", VERSION)
    except (DataError, OSError) as error:
        if passing := as_transient(error, str(path)):
            raise passing from None
        logger.warning("left out of the embedding store: %s", error)
        return None
    return table["key"].to_pylist(), to_numpy(table["vector"])


class _Gathered:
    """Vectors by number, each once in memory.

    Attributes:
        there: bool [n], which of them were put.
    """

    def __init__(self, count: int) -> None:
        self.there = np.zeros(count, bool)
        self._vectors: Vectors | None = None

    def put(self, numbers: Sequence[int] | NDArray[np.int64], vectors: Vectors) -> None:
        """Take vectors float32 [k, e] of these numbers."""
        if self._vectors is None:  # how wide they are is known by now
            self._vectors = np.empty((len(self.there), vectors.shape[1]), np.float32)
        self._vectors[numbers] = vectors
        self.there[numbers] = True

    def at(self, rows: NDArray[np.int64]) -> Vectors:
        """Float32 [r, e]: the vector of each of these numbers, all of which are among them."""
        assert self._vectors is not None
        # As many are all of them, in the order in which they were numbered.
        return self._vectors if len(rows) == len(self.there) else self._vectors[rows]

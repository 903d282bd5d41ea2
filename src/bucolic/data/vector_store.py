"""A store of vectors by content: what was embedded once, by anyone here, is never embedded again.

Append-only Parquet parts in one folder a CLIP, precision and device kind; each part is written
whole or not at all, so that a killed run loses at most the part it was working on, and of several
workers those that were ready behind it. A part that
cannot be read is left out with a warning: the store saves time and decides nothing.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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

    def find(self, keys: Sequence[str]) -> dict[str, Vectors]:
        """The stored vectors, float32 [e] each, of those keys that are there."""
        wanted = pa.array(sorted(set(keys)), pa.string())
        found: dict[str, Vectors] = {}
        for path in sorted(self._folder.glob("part-*.parquet")):
            table = self._read(path)
            if table is not None:
                table = table.filter(pc.is_in(table["key"], value_set=wanted))
                found.update(zip(table["key"].to_pylist(), to_numpy(table["vector"]), strict=True))
        return found

    def add(self, keys: Sequence[str], vectors: Vectors) -> None:
        """Add one part: as many keys as rows of the float32 [n, e] vectors."""
        table = pa.table({"key": pa.array(keys, pa.string()), "vector": to_arrow(vectors)})
        path = self._folder / f"part-{fingerprint(list(keys))}.parquet"
        write_table(path, table.replace_schema_metadata(METADATA), vectors=("vector",))

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
        found = self.find(keys)
        first = {key: place for place, key in reversed(list(enumerate(keys)))}
        missing = order(sorted(place for key, place in first.items() if key not in found))
        parts = [missing[at : at + ITEMS_PER_PART] for at in range(0, len(missing), ITEMS_PER_PART)]
        progress = Progress("embedded", len(missing))
        for places, vectors in zip(parts, compute(parts), strict=True):
            part_keys = [keys[place] for place in places]
            self.add(part_keys, vectors)
            found.update(zip(part_keys, vectors, strict=True))
            progress.add(len(places))
        progress.close()
        if not keys:
            return next(compute([[]])), 0
        return np.stack([found[key] for key in keys]), len(missing)

    @staticmethod
    def _read(path: Path) -> pa.Table | None:
        try:
            return read_table(path, "vectors", VERSION)
        except (DataError, OSError) as error:
            if passing := as_transient(error, str(path)):
                raise passing from None
            logger.warning("left out of the embedding store: %s", error)
            return None

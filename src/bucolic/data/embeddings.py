"""data/embeddings/: raw CLIP vectors of the chosen images and of all their captions, as Parquet.

images.parquet, one row an image, ordered by image id: image_id int64, sha256 string (of the image
file), vector fixed_size_list<float32>. captions.parquet, one row a caption, ordered by image id,
then caption id: caption_id int64, image_id int64, text string, vector. The vectors are what the
towers return, not normalised: whoever reads them decides on that.

The schema metadata holds the format (embeddings, version 1) and, as JSON under `bucolic.clip`,
where the vectors come from. Vectors of different towers must never meet, so readers compare it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bucolic.base.errors import DataError
from bucolic.data.tables import ROWS_PER_GROUP, checked, opened, read_table, write_table

VERSION = "1"
GROUPS_HELD = 2  # of rows, by who reads some at a time
Vectors = NDArray[np.float32]
# Not the precision: embed refuses vectors that differ by it, see stages/embed.py.
SAME_TOWERS = ("model", "weights_sha256", "preprocessing", "embed_dim")


@dataclass(frozen=True)
class ImageEmbeddings:
    """Image ids int64 [n], digests of the image files, and vectors float32 [n, e]."""

    image_ids: NDArray[np.int64]
    sha256: tuple[str, ...]
    vectors: Vectors


@dataclass(frozen=True)
class CaptionEmbeddings:
    """Caption ids and their image ids, int64 [m]; texts; vectors float32 [m, e]."""

    caption_ids: NDArray[np.int64]
    image_ids: NDArray[np.int64]
    texts: Sequence[str]
    vectors: Vectors


def write_images(path: Path, rows: ImageEmbeddings, clip: Mapping[str, Any]) -> None:
    """Write images.parquet with the provenance `clip` of its vectors."""
    columns = {
        "image_id": pa.array(rows.image_ids),
        "sha256": pa.array(rows.sha256, pa.string()),
        "vector": to_arrow(rows.vectors),
    }
    _write(path, columns, clip)


def write_captions(path: Path, rows: CaptionEmbeddings, clip: Mapping[str, Any]) -> None:
    """Write captions.parquet with the provenance `clip` of its vectors."""
    columns = {
        "caption_id": pa.array(rows.caption_ids),
        "image_id": pa.array(rows.image_ids),
        "text": pa.array(rows.texts, pa.string()),
        "vector": to_arrow(rows.vectors),
    }
    _write(path, columns, clip)


def read_embeddings(folder: Path) -> tuple[ImageEmbeddings, CaptionEmbeddings, dict[str, Any]]:
    """Read both files and their common provenance.

    Raises:
        DataError: a file is missing, of another format, or made with other towers than its twin.
    """
    images, image_clip = _read(folder / "images.parquet")
    captions, caption_clip = _read(folder / "captions.parquet")
    check_same_towers(image_clip, caption_clip, f"{folder}/captions.parquet")
    return (
        ImageEmbeddings(
            images["image_id"].to_numpy(),
            tuple(images["sha256"].to_pylist()),
            to_numpy(images["vector"]),
        ),
        CaptionEmbeddings(
            captions["caption_id"].to_numpy(),
            captions["image_id"].to_numpy(),
            tuple(captions["text"].to_pylist()),
            to_numpy(captions["vector"]),
        ),
        image_clip,
    )


class StoredEmbeddings:
    """One of the two files, whose rows are read as they are asked for.

    Attributes:
        clip: where the vectors come from.
    """

    def __init__(self, path: Path) -> None:
        """Open it.

        Raises:
            DataError: it is missing, or of another format.
        """
        self._path = path
        table = read_table(path, "embeddings", VERSION, without=("vector", "text", "sha256"))
        self.clip = _clip_of(table)
        self._ids: dict[str, NDArray[np.int64]] = {
            name: table[name].to_numpy() for name in table.column_names
        }
        self._group = lru_cache(GROUPS_HELD)(self._read_group)

    def ids(self, name: str) -> NDArray[np.int64]:
        """A column of ids, int64 [n]."""
        return self._ids[name]

    def are_of(self, digests: Iterable[str]) -> bool:
        """Whether those are the digests of the image files, in the order of the rows."""
        with opened(self._path, "embeddings", VERSION) as file:
            found = file.read(["sha256"])["sha256"]
        expected = pa.chunked_array([pa.array(digests, pa.string())])
        return bool(found.equals(expected))

    def at(self, places: NDArray[np.int64]) -> pa.Table:
        """The rows at some places, which ascend; a few thousand about them are read."""
        groups = places // ROWS_PER_GROUP
        parts = [
            self._group(int(number)).take(pa.array(places[groups == number] % ROWS_PER_GROUP))
            for number in np.unique(groups)
        ]
        return pa.concat_tables(parts) if parts else self._group(0).slice(0, 0)

    def _read_group(self, number: int) -> pa.Table:
        with opened(self._path, "embeddings", VERSION) as file:
            return checked(file.read_row_group(number))


def check_same_towers(expected: Mapping[str, Any], found: Mapping[str, Any], where: str) -> None:
    """Raise DataError, naming `where`, unless both provenances are of the same CLIP towers."""
    for key in SAME_TOWERS:
        if expected.get(key) != found.get(key):
            raise DataError(
                f"{where} was made with another CLIP ({key}: {_short(found.get(key))}, "
                f"not {_short(expected.get(key))}): run dvc repro"
            )


def to_arrow(vectors: Vectors) -> pa.FixedSizeListArray:
    """Float32 [n, e] as an Arrow column of fixed-size lists."""
    flat = pa.array(np.ascontiguousarray(vectors, dtype=np.float32).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])


def to_numpy(column: pa.ChunkedArray) -> Vectors:
    """An Arrow column of fixed-size lists as float32 [n, e]."""
    vectors = np.empty((len(column), column.type.list_size), np.float32)
    start = 0
    for chunk in column.chunks:  # all at once, they would be held a third time
        flat = chunk.flatten().to_numpy()
        vectors[start : start + len(chunk)] = flat.reshape(-1, vectors.shape[1])
        start += len(chunk)
    return vectors


def _write(path: Path, columns: dict[str, pa.Array], clip: Mapping[str, Any]) -> None:
    metadata = {
        "bucolic.format": "embeddings",
        "bucolic.version": VERSION,
        "bucolic.clip": json.dumps(dict(clip), sort_keys=True),
    }
    table = pa.table(columns).replace_schema_metadata(metadata)
    write_table(path, table, vectors=("vector",))


def _read(path: Path) -> tuple[pa.Table, dict[str, Any]]:
    table = read_table(path, "embeddings", VERSION)
    return table, _clip_of(table)


def _clip_of(table: pa.Table) -> dict[str, Any]:
    clip: dict[str, Any] = json.loads(table.schema.metadata[b"bucolic.clip"])
    return clip


def _short(value: object) -> str:
    return str(value)[:24]


def rows_of(ids: Sequence[int] | NDArray[np.int64], wanted: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions in the sorted `ids` of each wanted id; DataError where one is not there."""
    ids = np.asarray(ids, dtype=np.int64)
    places = np.searchsorted(ids, wanted)
    found = (places < len(ids)) & (ids[np.minimum(places, len(ids) - 1)] == wanted)
    if not found.all():
        raise DataError(f"id {wanted[~found][0]} has no embedding: run dvc repro")
    return places

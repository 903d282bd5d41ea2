"""Parquet files that name their format and version; the same table gives the same bytes."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bucolic.base.engine import chunked
from bucolic.base.errors import DataError
from bucolic.base.files import replacing

ROWS_PER_GROUP = 8192
ROWS_AT_ONCE = 1024  # as Python's own objects, which take ten times as much


@contextmanager
def exact_memory() -> Iterator[None]:
    """Take columns' memory from the system, which holds as much as was asked for.

    Arrow's own allocator holds half as much again where a table is made of many small ones, and is
    no faster there.
    """
    former = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        give_back_memory()
        pa.set_memory_pool(former)


def give_back_memory() -> None:
    """Hand to the system what is allocated and in no use: else a later step adds to it."""
    for pool in (pa.default_memory_pool(), pa.system_memory_pool()):
        pool.release_unused()


def in_one_piece(table: pa.Table) -> pa.Table:
    """The same table, its chunks joined: who takes rows of many joins them first, each time."""
    if all(column.num_chunks == 1 for column in table.columns):
        return table
    return table.combine_chunks()


def iterate_rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """The rows of a table, few of which are objects at a time."""
    for rows in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        yield from rows.to_pylist()


def write_table(
    path: Path, table: pa.Table, *, vectors: tuple[str, ...] = (), checksums: bool = False
) -> None:
    """Write a table atomically.

    Args:
        path: of the file.
        table: what it holds.
        vectors: columns without dictionaries and statistics: on float vectors they cost three to
            five times the reading time and save nothing.
        checksums: whether each page has one, by which damage is told; what DVC keeps has digests.
    """
    write_tables(path, table.schema, [table], vectors=vectors, checksums=checksums)


def write_tables(
    path: Path,
    schema: pa.Schema,
    tables: Iterable[pa.Table],
    *,
    vectors: tuple[str, ...] = (),
    checksums: bool = False,
) -> None:
    """Write tables of one schema, made one after the other, into one file; see `write_table`.

    The bytes are those of all in one, where each but the last has ROWS_PER_GROUP rows.
    """
    leaves = [name for name in schema.names if name not in vectors]
    about: dict[str, Any] = {"compression": "zstd", "write_page_checksum": checksums}
    about |= {"use_dictionary": leaves, "write_statistics": leaves}
    with (
        exact_memory(),
        replacing(path) as temporary,
        pq.ParquetWriter(temporary, schema, **about) as writer,
    ):
        for table in tables:
            writer.write_table(table, row_group_size=ROWS_PER_GROUP)


def write_records(path: Path, schema: pa.Schema, records: Iterable[Mapping[str, Any]]) -> None:
    """Write rows, some thousands of which are held as a table at a time."""
    parts = chunked(records, ROWS_PER_GROUP)
    write_tables(path, schema, (pa.Table.from_pylist(list(part), schema) for part in parts))


def read_table(path: Path, name: str, version: str, *, without: Collection[str] = ()) -> pa.Table:
    """Read a table whose schema says it is `name` in `version`.

    Args:
        path: the file.
        name: of the format.
        version: of the format.
        without: columns that are not read.

    Raises:
        DataError: the file is missing, no whole Parquet, or of another format or version.
    """
    with exact_memory(), opened(path, name, version) as file:
        return checked(file.read(_columns(file, without)))


def iterate_images(
    path: Path, name: str, version: str, *, without: Collection[str] = ()
) -> Iterator[dict[str, Any]]:
    """The rows of a table that is ordered by image id, few of which are held at a time.

    Args:
        path: see `read_table`, as for the others.
        name: of the format.
        version: of the format.
        without: columns that are not read.

    Raises:
        DataError: as `read_table` does, and where an id does not follow the one before it.
    """
    with ExitStack() as stack:
        with exact_memory():  # a reader keeps the pool that it was opened with
            file = stack.enter_context(opened(path, name, version))
        stack.callback(give_back_memory)
        batches = file.iter_batches(ROWS_AT_ONCE, columns=_columns(file, without))
        yield from _in_order(path, (record for rows in batches for record in rows.to_pylist()))


def _in_order(path: Path, records: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    former = -math.inf
    for record in records:
        number = record["image_id"]
        if number <= former:
            raise DataError(
                f"{path}: image {number} stands behind image {former}: run its stage again"
            )
        former = number
        yield record


@contextmanager
def opened(path: Path, name: str, version: str) -> Iterator[pq.ParquetFile]:
    """Open a table whose schema says it is `name` in `version`.

    Raises:
        DataError: as `read_table` does, also of what the block reads.
    """
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            _require_format(path, file.schema_arrow.metadata or {}, (name, version))
            yield file
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the stage that writes it (dvc repro)") from None
    except (OSError, pa.ArrowException, UnicodeError, LookupError) as error:
        if isinstance(error, OSError) and error.errno:  # the system's, and not of what is there
            raise
        why = " ".join(str(error).split())[:200]
        raise DataError(
            f"{path} is not a whole Parquet file ({why}): run its stage again"
        ) from None


def checked(table: pa.Table) -> pa.Table:
    """The same table; an error of Arrow's where it holds what is no text, or lists of odd ends."""
    table.validate(full=True)
    return table


def _columns(file: pq.ParquetFile, without: Collection[str]) -> list[str]:
    return [each for each in file.schema_arrow.names if each not in without]


def _require_format(path: Path, metadata: Mapping[bytes, bytes], expected: tuple[str, str]) -> None:
    found = tuple(
        metadata.get(b"bucolic." + key, b"").decode(errors="replace")
        for key in (b"format", b"version")
    )
    if found != expected:
        said = " ".join(found).strip() or "no bucolic table"
        raise DataError(f"{path} is {said}, not {' '.join(expected)}: run its stage again")

"""Parquet files that name their format and version; the same table gives the same bytes."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bucolic.base.engine import chunked
from bucolic.base.errors import DataError
from bucolic.base.files import replacing

ROWS_PER_GROUP = 8192


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
    pa.default_memory_pool().release_unused()


def in_one_piece(table: pa.Table) -> pa.Table:
    """The same table, its chunks joined: who takes rows of many joins them first, each time."""
    if all(column.num_chunks == 1 for column in table.columns):
        return table
    return table.combine_chunks()


def write_table(path: Path, table: pa.Table, *, vectors: tuple[str, ...] = ()) -> None:
    """Write a table atomically.

    Dictionaries and statistics are switched off for the columns named in `vectors`: on float
    vectors they cost three to five times the reading time and save nothing.
    """
    write_tables(path, table.schema, [table], vectors=vectors)


def write_tables(
    path: Path, schema: pa.Schema, tables: Iterable[pa.Table], *, vectors: tuple[str, ...] = ()
) -> None:
    """Write tables of one schema, made one after the other, into one file; see `write_table`.

    The bytes are those of all in one, where each but the last has ROWS_PER_GROUP rows.
    """
    leaves = [name for name in schema.names if name not in vectors]
    about = {"compression": "zstd", "use_dictionary": leaves, "write_statistics": leaves}
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
        DataError: the file is missing, no Parquet, or of another format or version.
    """
    try:
        with exact_memory(), pq.ParquetFile(path) as file:
            table = file.read([each for each in file.schema_arrow.names if each not in without])
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the stage that writes it (dvc repro)") from None
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is not a Parquet file ({error}): run its stage again") from None
    metadata = table.schema.metadata or {}
    found = (metadata.get(b"bucolic.format", b""), metadata.get(b"bucolic.version", b""))
    if found != (name.encode(), version.encode()):
        said = b" ".join(found).decode().strip() or "no bucolic table"
        raise DataError(f"{path} is {said}, not {name} {version}: run its stage again")
    return table

"""Parquet files that name their format and version; the same table gives the same bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

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
        pa.set_memory_pool(former)


def write_table(path: Path, table: pa.Table, *, vectors: tuple[str, ...] = ()) -> None:
    """Write a table atomically.

    Dictionaries and statistics are switched off for the columns named in `vectors`: on float
    vectors they cost three to five times the reading time and save nothing.
    """
    leaves = [name for name in table.column_names if name not in vectors]
    with replacing(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=ROWS_PER_GROUP,
            compression="zstd",
            use_dictionary=leaves,
            write_statistics=leaves,
        )


def read_table(path: Path, name: str, version: str) -> pa.Table:
    """Read a table whose schema says it is `name` in `version`.

    Raises:
        DataError: the file is missing, no Parquet, or of another format or version.
    """
    try:
        table = pq.read_table(path)
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

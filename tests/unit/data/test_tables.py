"""Tables are read if they are what they say, and refused in one line if not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bucolic.base.errors import DataError
from bucolic.data.tables import iterate_images, read_table, write_table

METADATA = {"bucolic.format": "things", "bucolic.version": "2"}
Read = Callable[[Path, str, str], list[dict[str, int]]]
READERS = {
    "as a table": lambda *about: read_table(*about).to_pylist(),
    "row by row": lambda *about: list(iterate_images(*about)),
}


def table(*ids: int, metadata: dict[str, str] | None = METADATA) -> pa.Table:
    """Images with these ids."""
    return pa.table({"image_id": ids}).replace_schema_metadata(metadata)


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_a_table_is_read_as_it_was_written(tmp_path: Path, read: Read):
    """All its rows, over groups, in their order."""
    write_table(tmp_path / "t.parquet", table(*range(20_000)))
    found = read(tmp_path / "t.parquet", "things", "2")
    assert list(range(20_000)) == [row["image_id"] for row in found]


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (METADATA | {"bucolic.format": "others"}, "is others 2, not things 2"),
        (METADATA | {"bucolic.version": "1"}, "is things 1, not things 2"),
        (None, "is no bucolic table, not things 2"),
    ],
)
def test_another_table_is_refused(
    tmp_path: Path, read: Read, metadata: dict[str, str] | None, said: str
):
    """One of another format or version, or made by something else."""
    pq.write_table(table(1, metadata=metadata), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=f"t.parquet {said}: run its stage again"):
        read(tmp_path / "t.parquet", "things", "2")


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_what_is_no_whole_parquet_file_is_refused(tmp_path: Path, read: Read):
    """It is missing, of another kind, or cut off."""
    path = tmp_path / "t.parquet"
    with pytest.raises(DataError, match=r"t.parquet is missing: run the stage that writes it"):
        read(path, "things", "2")
    write_table(path, table(*range(20_000)))
    whole = path.read_bytes()
    for content in (b"x", b"", whole[:-1], whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"t.parquet is not a whole Parquet file") as caught:
            read(path, "things", "2")
        assert 1 == len(str(caught.value).splitlines())


@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_damage_anywhere_inside_is_no_traceback(tmp_path: Path, read: Read):
    """It is told in one line, or changes nothing that Parquet could tell."""
    path = tmp_path / "t.parquet"
    write_table(path, table(*range(5_000)))
    whole, draw, told = path.read_bytes(), np.random.default_rng(0), list[str]()
    for _ in range(200):
        damaged = np.frombuffer(whole, np.uint8).copy()
        places = draw.integers(4, len(whole), draw.integers(1, 30))
        damaged[places] = draw.integers(0, 256, len(places))
        path.write_bytes(damaged.tobytes())
        try:
            list(read(path, "things", "2"))
        except DataError as error:
            told.append(str(error))
    assert len(told) > 100
    assert [1] * len(told) == [len(message.splitlines()) for message in told]


@pytest.mark.parametrize("ids", [(1, 3, 2), (1, 2, 2)])
def test_images_that_are_out_of_order_are_refused(tmp_path: Path, ids: tuple[int, ...]):
    """Ids join tables, by their order: somebody has edited the file."""
    write_table(tmp_path / "t.parquet", table(*ids))
    said = f"image 2 stands behind image {ids[1]}: run its stage again"
    with pytest.raises(DataError, match=said):
        list(iterate_images(tmp_path / "t.parquet", "things", "2"))

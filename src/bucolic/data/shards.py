"""data/shards/: what training reads, as WebDataset tars: pixels, captions and CLIP vectors.

SPLIT-NNNNNN.tar holds one sample an image, ordered by image id within the split; key = image id in
twelve digits; members `png`, `jpg` or `webp` (RGB, size_px square), `json` (image_id, captions with
id and text), `image.npy` (float32 [e]) and `captions.npy` (float32 [number of captions, e]).

index.json, version 1: size_px; clip, the provenance of the vectors; splits, name to {images,
captions, files}. The tars are ordinary WebDataset shards for any other loader; this module's own
reader fills arrays, since a themed COCO subset fits in memory (20,000 images at 64 px: 246 MB).

rows.parquet, version 1, says what became of every image that could be read, ordered by id:

| column | type | meaning |
|---|---|---|
| image_id | int64 | COCO's id |
| split | string | train, val or test |
| status | string | ok, or left out since a split that matters more has the same file (duplicate) |
| | | or the same picture (near_duplicate) |
| reason | string | which other image has it; empty where none has |
| copy_of | int64, nullable | that image's id; a copy within one split is ok and stays |
"""

import hashlib
import io
import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from bucolic.base.errors import DataError
from bucolic.base.files import write_json
from bucolic.data.coco import Caption
from bucolic.data.embeddings import Vectors
from bucolic.data.split import SplitName
from bucolic.data.tables import read_table, write_table

VERSION = 1
MEMBERS = {"png": "png", "jpeg": "jpg", "webp": "webp"}  # by format, what WebDataset decodes
ROWS_VERSION = "1"
ROWS_SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),
        ("split", pa.string()),
        ("status", pa.string()),
        ("reason", pa.string()),
        ("copy_of", pa.int64()),
    ],
    metadata={"bucolic.format": "shard-rows", "bucolic.version": ROWS_VERSION},
)


@dataclass(frozen=True)
class Sample:
    """One image as it goes into a shard: a coded picture, captions, and their raw CLIP vectors."""

    image_id: int
    picture: bytes
    captions: tuple[Caption, ...]
    image_vector: Vectors
    caption_vectors: Vectors


@dataclass(frozen=True)
class Written:
    """A shard that was written: its file's name, and how much it holds."""

    file: str
    images: int
    captions: int


@dataclass(frozen=True)
class ShardRow:
    """What became of one image; see the module's docstring."""

    image_id: int
    split: SplitName
    status: Literal["ok", "duplicate", "near_duplicate"]
    reason: str = ""
    copy_of: int | None = None


@dataclass(frozen=True)
class ShardIndex:
    """The content of index.json; see the module's docstring."""

    size_px: int
    clip: dict[str, Any]
    splits: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Split:
    """One split in memory; n images, m captions, e embedding dimensions.

    Attributes:
        image_ids: int64 [n], ascending.
        images: uint8 [n, 3, size_px, size_px], RGB.
        image_vectors: float32 [n, e], raw CLIP image embeddings.
        caption_ids: int64 [m].
        caption_rows: int64 [m], the row of the image that each caption belongs to.
        captions: m texts.
        caption_vectors: float32 [m, e], raw CLIP text embeddings.
    """

    image_ids: NDArray[np.int64]
    images: NDArray[np.uint8]
    image_vectors: Vectors
    caption_ids: NDArray[np.int64]
    caption_rows: NDArray[np.int64]
    captions: tuple[str, ...]
    caption_vectors: Vectors


def entry_of(written: Sequence[Written]) -> dict[str, Any]:
    """The entry for index.json of a split with these shards."""
    return {
        "images": sum(tar.images for tar in written),
        "captions": sum(tar.captions for tar in written),
        "files": [tar.file for tar in written],
    }


def tar_name(split: SplitName, number: int) -> str:
    """File name of a split's shard, counted from 0."""
    return f"{split}-{number:06d}.tar"


def write_tar(
    path: Path,
    samples: Iterable[Sample],
    *,
    format: str = "png",  # noqa: A002 - as the section of params.yaml has it
) -> Written:
    """Write one shard."""
    from webdataset import TarWriter  # noqa: PLC0415 - imports torch where it is installed

    images = captions = 0
    # A fixed time: WebDataset stamps the present one otherwise, and no two runs agree.
    with TarWriter(str(path), mtime=0, user="root", group="root") as writer:
        for sample in samples:
            writer.write(_members(sample, MEMBERS[format]))
            images, captions = images + 1, captions + len(sample.captions)
    return Written(path.name, images, captions)


def packed_ids(folder: Path, files: Iterable[str]) -> set[int]:
    """Ids of the images that these shards hold, by the names of their members."""
    found = set[int]()
    for file in files:
        with tarfile.open(folder / file, "r:") as tar:
            found.update(int(name.partition(".")[0]) for name in tar.getnames())
    return found


def write_index(folder: Path, index: ShardIndex) -> None:
    """Write index.json."""
    content = {
        "version": VERSION,
        "size_px": index.size_px,
        "clip": index.clip,
        "splits": index.splits,
    }
    write_json(folder / "index.json", content)


def write_rows(folder: Path, rows: Iterable[ShardRow]) -> None:
    """Write rows.parquet, ordered by image id."""
    records = [asdict(row) for row in sorted(rows, key=lambda row: row.image_id)]
    write_table(folder / "rows.parquet", pa.Table.from_pylist(records, schema=ROWS_SCHEMA))


def read_rows(folder: Path) -> list[ShardRow]:
    """Read rows.parquet; DataError where it is missing or of another format."""
    table = read_table(folder / "rows.parquet", "shard-rows", ROWS_VERSION)
    return [ShardRow(**record) for record in table.to_pylist()]


def read_index(folder: Path) -> ShardIndex:
    """Read index.json; DataError where it is missing, broken or of another version."""
    path = folder / "index.json"
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise DataError(f"{path} is missing: run the shard stage (dvc repro shard)") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON ({error}): run the shard stage again") from None
    if content.pop("version", None) != VERSION:
        raise DataError(f"{path} is not of version {VERSION}: run the shard stage again")
    return ShardIndex(**content)


def read_split(folder: Path, split: SplitName) -> Split:
    """Read one split into memory, in the order of the shards.

    Raises:
        DataError: the index or a shard is missing, a shard does not hold what the index says, or an
            embedding is no number.
    """
    index = read_index(folder)
    entry = index.splits[split]
    if strange := [n for n in entry["files"] if not re.fullmatch(rf"{split}-\d{{6,}}\.tar", n)]:
        raise DataError(
            f"{folder / 'index.json'}: {strange[0]!r} is not the name of a shard of {split}: "
            "run the shard stage again"
        )
    samples = list(_read_samples([folder / name for name in entry["files"]]))
    if len(samples) != entry["images"]:
        raise DataError(
            f"{folder}: {split} holds {len(samples)} images, index.json says {entry['images']}: "
            "run the shard stage again"
        )
    found = _collate(samples, index)
    _require_numbers(found, folder)
    return found


def _require_numbers(split: Split, folder: Path) -> None:
    images = np.isfinite(split.image_vectors).all(axis=1)
    captions = np.isfinite(split.caption_vectors).all(axis=1)
    if not (images.all() and captions.all()):
        first = (
            f"image {split.image_ids[~images][0]}"
            if not images.all()
            else f"caption {split.caption_ids[~captions][0]}"
        )
        raise DataError(
            f"{folder}: the embedding of {first} is no number ({int((~images).sum())} images, "
            f"{int((~captions).sum())} captions): embed again, in fp32 (clip.precision)"
        )


def content_digest(split: Split) -> str:
    """sha256 of a split's pictures and captions with their ids: what a model is judged on.

    Vectors are no part of it: another CLIP sees the same pictures.
    """
    digest = hashlib.sha256()
    for array in (split.image_ids, split.images, split.caption_ids, split.caption_rows):
        digest.update(np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps(split.captions).encode())
    return digest.hexdigest()


def _members(sample: Sample, ending: str) -> dict[str, Any]:
    captions = [{"caption_id": c.caption_id, "text": c.text} for c in sample.captions]
    content = {"image_id": sample.image_id, "captions": captions}
    return {
        "__key__": f"{sample.image_id:012d}",
        ending: sample.picture,
        "json": json.dumps(content, sort_keys=True).encode(),
        "image.npy": _to_npy(sample.image_vector),
        "captions.npy": _to_npy(sample.caption_vectors),
    }


def _read_samples(paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
    import webdataset  # noqa: PLC0415 - imports torch where it is installed

    if not paths:
        return
    if missing := [path for path in paths if not path.exists()]:
        raise DataError(f"{missing[0]} is missing: run the shard stage again")
    # No splitting among nodes: under torchrun every process reads the whole split.
    yield from webdataset.DataPipeline(
        webdataset.SimpleShardList([str(path) for path in paths]), webdataset.tarfile_to_samples()
    )


def _collate(samples: list[dict[str, Any]], index: ShardIndex) -> Split:
    records = [json.loads(sample["json"]) for sample in samples]
    owners = [row for row, record in enumerate(records) for _ in record["captions"]]
    captions = [caption for record in records for caption in record["captions"]]
    dim, size = index.clip["embed_dim"], index.size_px
    images = np.empty((len(samples), 3, size, size), np.uint8)
    for row, sample in enumerate(samples):
        coded = next(sample[ending] for ending in MEMBERS.values() if ending in sample)
        images[row] = np.asarray(Image.open(io.BytesIO(coded))).transpose(2, 0, 1)
    return Split(
        image_ids=np.array([record["image_id"] for record in records], np.int64),
        images=images,
        image_vectors=_concatenate([_from_npy(s["image.npy"])[None] for s in samples], dim),
        caption_ids=np.array([caption["caption_id"] for caption in captions], np.int64),
        caption_rows=np.array(owners, np.int64),
        captions=tuple(caption["text"] for caption in captions),
        caption_vectors=_concatenate([_from_npy(s["captions.npy"]) for s in samples], dim),
    )


def _concatenate(parts: list[Vectors], dim: int) -> Vectors:
    return np.concatenate(parts) if parts else np.empty((0, dim), np.float32)


def _to_npy(array: Vectors) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _from_npy(content: bytes) -> Vectors:
    array: Vectors = np.load(io.BytesIO(content), allow_pickle=False)
    return array

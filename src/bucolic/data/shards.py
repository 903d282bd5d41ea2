"""data/shards/: what training reads, as WebDataset tars: pixels, captions and CLIP vectors.

SPLIT-NNNNNN.tar holds one sample an image, ordered by image id within the split; key = image id in
twelve digits; members `png` (uint8 RGB, size_px square, lossless), `json` (image_id, captions with
id and text), `image.npy` (float32 [e]) and `captions.npy` (float32 [number of captions, e]).

index.json, version 1: size_px; clip, the provenance of the vectors; splits, name to {images,
captions, files}. The tars are ordinary WebDataset shards for any other loader; this module's own
reader fills arrays, since a themed COCO subset fits in memory (20,000 images at 64 px: 246 MB).

rows.parquet, version 1, says what became of every image that could be read, ordered by id:

| column | type | meaning |
|---|---|---|
| image_id | int64 | COCO's id |
| split | string | train, val or test |
| status | string | ok, or duplicate: left out, since a split that matters more has the same file |
| reason | string | which other image has the same file; empty where none has |
| copy_of | int64, nullable | that image's id; a copy within one split is ok and stays |
"""

import hashlib
import io
import json
import re
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
    """One image as it goes into a shard: PNG bytes, captions, and their raw CLIP vectors."""

    image_id: int
    png: bytes
    captions: tuple[Caption, ...]
    image_vector: Vectors
    caption_vectors: Vectors


@dataclass(frozen=True)
class ShardRow:
    """What became of one image; see the module's docstring."""

    image_id: int
    split: SplitName
    status: Literal["ok", "duplicate"]
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


def to_square_png(image: Image.Image, size_px: int) -> bytes:
    """Resize the shorter side to `size_px` (antialiased bicubic), crop the centre; PNG bytes."""
    scale = size_px / min(image.size)
    width, height = (max(size_px, round(side * scale)) for side in image.size)
    resized = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - size_px) // 2, (height - size_px) // 2
    buffer = io.BytesIO()
    resized.crop((left, top, left + size_px, top + size_px)).save(buffer, "PNG", compress_level=3)
    return buffer.getvalue()


def write_split(
    folder: Path, split: SplitName, samples: Iterable[Sample], images_per_shard: int
) -> dict[str, Any]:
    """Write the shards of one split; returns its entry for index.json."""
    from webdataset import TarWriter  # noqa: PLC0415 - imports torch where it is installed

    entry: dict[str, Any] = {"images": 0, "captions": 0, "files": []}
    writer = None
    for sample in samples:
        if entry["images"] % images_per_shard == 0:
            if writer is not None:
                writer.close()
            name = f"{split}-{len(entry['files']):06d}.tar"
            entry["files"].append(name)
            # A fixed time: WebDataset stamps the present one otherwise, and no two runs agree.
            writer = TarWriter(str(folder / name), mtime=0, user="root", group="root")
        assert writer is not None
        writer.write(_members(sample))
        entry["images"] += 1
        entry["captions"] += len(sample.captions)
    if writer is not None:
        writer.close()
    return entry


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


def _members(sample: Sample) -> dict[str, Any]:
    captions = [{"caption_id": c.caption_id, "text": c.text} for c in sample.captions]
    content = {"image_id": sample.image_id, "captions": captions}
    return {
        "__key__": f"{sample.image_id:012d}",
        "png": sample.png,
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
        images[row] = np.asarray(Image.open(io.BytesIO(sample["png"]))).transpose(2, 0, 1)
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

"""data/shards/: what training reads, as WebDataset tars: pixels, captions and CLIP vectors.

SPLIT-NNNNNN.tar holds one sample an image, ordered by image id within the split; key = image id in
twelve digits; members `png`, `jpg` or `webp` (RGB, size_px square), `json` (image_id, captions with
id and text), `image.npy` (float32 [e]) and `captions.npy` (float32 [number of captions, e]).

index.json, version 1: size_px; clip, the provenance of the vectors; splits, name to {images,
captions, files}. The tars are ordinary WebDataset shards for any other loader; this module's own
reader fills arrays, since a themed COCO subset fits in memory (20,000 images at 64 px: 246 MB).
Pictures that do not are decoded once to a file that is mapped into it: a draw out of the tars would
decode each of them anew in every pass.

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
import json
import math
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from bucolic.base.errors import DataError, as_transient
from bucolic.base.files import replacing, write_json
from bucolic.base.space import free_memory_bytes, require_space
from bucolic.data.coco import Caption
from bucolic.data.embeddings import Vectors
from bucolic.data.split import SplitName
from bucolic.data.tables import read_table, write_records

VERSION = 1
MEMBERS = {"png": "png", "jpeg": "jpg", "webp": "webp"}  # by format, what WebDataset decodes
# What reading a shard that is torn or otherwise damaged ends in.
_DAMAGE = (tarfile.TarError, OSError, ValueError, LookupError, TypeError, StopIteration)
MOST_OF_MEMORY = 0.5  # of what is free, for the pictures of a split
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


@dataclass(frozen=True, slots=True)
class ShardRow:
    """What became of one image; see the module's docstring."""

    image_id: int
    split: SplitName
    status: Literal["ok", "duplicate", "near_duplicate"]
    reason: str = ""
    copy_of: int | None = None


class Entry(TypedDict):
    """What index.json says of a split: how much it holds, and the names of its shards."""

    images: int
    captions: int
    files: list[str]


@dataclass(frozen=True)
class ShardIndex:
    """The content of index.json; see the module's docstring."""

    size_px: int
    clip: dict[str, Any]
    splits: dict[SplitName, Entry]


_INDEX = TypeAdapter(ShardIndex)


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


def entry_of(written: Sequence[Written]) -> Entry:
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
    """Write one shard: whole, or none."""
    images = captions = 0
    # As WebDataset's own writer does, which would import torch, and stamp the present time; the
    # default format would put together a PAX header for each member, and leave it out.
    with replacing(path) as partial, tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as tar:
        for sample in samples:
            for ending, content in sorted(_members(sample, MEMBERS[format]).items()):
                tar.addfile(_header(f"{sample.image_id:012d}.{ending}", content), BytesIO(content))
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
    ordered = sorted(rows, key=lambda row: row.image_id)
    write_records(folder / "rows.parquet", ROWS_SCHEMA, map(asdict, ordered))


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
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}): run the shard stage again") from None
    if not isinstance(content, dict) or content.pop("version", None) != VERSION:
        raise DataError(f"{path} is not of version {VERSION}: run the shard stage again")
    try:
        return _INDEX.validate_python(content)
    except ValidationError as error:
        what = error.errors()[0]
        where = ".".join(map(str, what["loc"]))
        raise DataError(f"{path}: {where}: {what['msg']}: run the shard stage again") from None


def read_split(folder: Path, split: SplitName, spill: Path | None = None) -> Split:
    """Read one split into memory, in the order of the shards.

    Args:
        folder: of the shard stage.
        split: which one.
        spill: folder on a disk for pictures that would take most of the free memory: decoded once,
            they lie there in a file without a name, and are read as they are looked at.

    Raises:
        DataError: the index or a shard is missing, a shard does not hold what the index says, or an
            embedding is no number.
        TransientError: neither memory nor disk has room.
    """
    index = read_index(folder)
    entry = index.splits[split]
    if strange := [n for n in entry["files"] if not re.fullmatch(rf"{split}-\d{{6,}}\.tar", n)]:
        raise DataError(
            f"{folder / 'index.json'}: {strange[0]!r} is not the name of a shard of {split}: "
            "run the shard stage again"
        )
    images = _room_for((entry["images"], 3, index.size_px, index.size_px), spill)
    samples = _read_samples([folder / name for name in entry["files"]])
    counts = {"images": entry["images"], "captions": entry["captions"]}
    try:
        found = _gathered(_counted(samples, counts, f"{folder}: {split}"), images, index, counts)
    except _DAMAGE as error:
        raise as_transient(error, str(folder)) or DataError(
            f"{folder}: a shard of {split} is damaged ({_told(error)}): run the shard stage again"
        ) from None
    _require_numbers(found, folder)
    return found


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


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
        digest.update(np.ascontiguousarray(array).data)
    digest.update(json.dumps(split.captions).encode())
    return digest.hexdigest()


def _header(name: str, content: bytes) -> tarfile.TarInfo:
    """Of a file that says nothing of who wrote it, and when."""
    header = tarfile.TarInfo(name)
    header.size, header.mode, header.uname, header.gname = len(content), 0o444, "root", "root"
    return header


def _members(sample: Sample, ending: str) -> dict[str, bytes]:
    captions = [{"caption_id": c.caption_id, "text": c.text} for c in sample.captions]
    content = {"image_id": sample.image_id, "captions": captions}
    return {
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


def _counted(
    samples: Iterable[dict[str, Any]], counts: Mapping[str, int], told: str
) -> Iterator[dict[str, Any]]:
    """Samples, their JSON read, which are as many as there should be.

    Raises:
        DataError: they, or their captions, are fewer or more.
    """
    found = {"images": 0, "captions": 0}
    for sample in samples:
        record = json.loads(sample["json"])
        found["images"] += 1
        found["captions"] += len(record["captions"])
        if all(found[key] <= counts[key] for key in found):
            yield sample | record
    if found != counts:
        there, said = (
            f"{of['images']} images, {of['captions']} captions" for of in (found, counts)
        )
        raise DataError(f"{told} holds {there}, index.json says {said}: run the shard stage again")


def _gathered(
    samples: Iterable[dict[str, Any]],
    images: NDArray[np.uint8],
    index: ShardIndex,
    counts: Mapping[str, int],
) -> Split:
    """Samples in arrays, each filled as it comes: none is held twice."""
    dim = index.clip["embed_dim"]
    ids, image_vectors = np.empty(len(images), np.int64), np.empty((len(images), dim), np.float32)
    caption_vectors = np.empty((counts["captions"], dim), np.float32)
    owners, caption_ids, texts = list[int](), list[int](), list[str]()
    for row, sample in enumerate(samples):
        captions = sample["captions"]
        coded = next(sample[ending] for ending in MEMBERS.values() if ending in sample)
        images[row] = np.asarray(Image.open(BytesIO(coded))).transpose(2, 0, 1)
        ids[row], image_vectors[row] = sample["image_id"], _from_npy(sample["image.npy"])
        of_image = slice(len(texts), len(texts) + len(captions))
        caption_vectors[of_image] = _from_npy(sample["captions.npy"])
        owners += [row] * len(captions)
        caption_ids += [caption["caption_id"] for caption in captions]
        texts += [caption["text"] for caption in captions]
    return Split(
        image_ids=ids,
        images=images,
        image_vectors=image_vectors,
        caption_ids=np.array(caption_ids, np.int64),
        caption_rows=np.array(owners, np.int64),
        captions=tuple(texts),
        caption_vectors=caption_vectors,
    )


def _room_for(shape: tuple[int, ...], spill: Path | None) -> NDArray[np.uint8]:
    """An array to be filled: in memory, or in a file without a name that is mapped into it."""
    size_bytes = math.prod(shape)
    if spill is None or size_bytes <= MOST_OF_MEMORY * free_memory_bytes():
        return np.empty(shape, np.uint8)
    require_space(spill, size_bytes, "what memory cannot hold of the pictures")
    spill.mkdir(parents=True, exist_ok=True)
    with TemporaryFile(dir=spill) as file:
        _reserve(file.fileno(), size_bytes, spill)
        mapped: NDArray[np.uint8] = np.memmap(file, np.uint8, "r+", shape=shape)
    return mapped


def _reserve(descriptor: int, size_bytes: int, folder: Path) -> None:
    """Take room for a file: a process that writes to a mapped one which finds none is killed."""
    if not hasattr(os, "posix_fallocate"):  # macOS
        os.truncate(descriptor, size_bytes)
        return
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        raise as_transient(error, str(folder)) or error from None


def _to_npy(array: Vectors) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _from_npy(content: bytes) -> Vectors:
    array: Vectors = np.load(BytesIO(content), allow_pickle=False)
    return array

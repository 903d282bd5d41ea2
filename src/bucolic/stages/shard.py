"""shard: resize each image once and pack pixels, captions and vectors into WebDataset tars."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from bucolic.base.engine import ordered_map
from bucolic.base.errors import DataError
from bucolic.base.files import replacing
from bucolic.base.progress import Progress
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.data.coco import Caption
from bucolic.data.display import middle
from bucolic.data.duplicates import Copy, Placed, count_copies, find_copies
from bucolic.data.embeddings import CaptionEmbeddings, ImageEmbeddings, read_embeddings, rows_of
from bucolic.data.images import ImageRow, decode
from bucolic.data.images import read_index as read_images
from bucolic.data.original_store import OriginalStore
from bucolic.data.selection import SelectedImage, read_selection
from bucolic.data.shards import (
    Sample,
    ShardIndex,
    ShardRow,
    to_square_png,
    write_index,
    write_rows,
    write_split,
)
from bucolic.data.split import SPLITS


class ShardConfig(Section):
    """The `shard` section.

    Attributes:
        size_px: side of the square pictures that the model is trained on.
        images_per_shard: samples in one tar; webdataset wants at least one tar a loading worker.
    """

    size_px: int = Field(default=64, ge=16, le=512, multiple_of=16)
    images_per_shard: int = Field(default=1000, ge=1)


def shard(
    selection: Path,
    images: Path,
    embeddings: Path,
    out: Path,
    *,
    config: ShardConfig,
    runtime: Runtime,
) -> Summary:
    """Write the shards of train, val and test, and their index.

    No two splits share a file: a copy of an image in test, else in val, is a row that says so.

    Args:
        selection: the Parquet file of the filter stage, for the split of each image.
        images: folder of the images stage.
        embeddings: folder of the embed stage.
        out: folder to write, see data/shards.py.
        config: size of pictures and of shards.
        runtime: worker threads; its cache holds the originals.

    Raises:
        DataError: an input is missing, of another format, or made with different towers; or a
            split has no image, or none that is not a copy.
    """
    image_vectors, captions, clip = read_embeddings(embeddings)
    originals = OriginalStore(runtime.cache)
    pack = _Packer(originals, image_vectors, captions, config.size_px, runtime.workers)
    chosen = {row.image.image_id: row for row in read_selection(selection)}
    good = [row for row in read_images(images) if row.status == "ok"]
    _require_one_selection(good, chosen, image_vectors, captions)
    placed = [Placed(row.image_id, str(row.sha256), chosen[row.image_id].split) for row in good]
    copies = find_copies(placed)
    accounts = [_account(image, copies.get(image.image_id)) for image in placed]
    _require_every_split(accounts)
    with replacing(out) as folder:
        folder.mkdir()
        entries: dict[str, dict[str, Any]] = {}
        for name in SPLITS:
            used = {row.image_id for row in accounts if (row.split, row.status) == (name, "ok")}
            rows = [row for row in good if row.image_id in used]
            samples = Progress(f"packed for {name}", len(rows)).over(pack.samples(rows))
            entries[name] = write_split(folder, name, samples, config.images_per_shard)
        write_index(folder, ShardIndex(config.size_px, clip, entries))
        write_rows(folder, accounts)
    return _summarise(entries, copies)


def _account(image: Placed, copy: Copy | None) -> ShardRow:
    """The row of an image that could be read."""
    if copy is None:
        return ShardRow(image.image_id, image.split, "ok")
    return ShardRow(
        image.image_id,
        image.split,
        "duplicate" if copy.left_out else "ok",
        f"the same file as image {copy.first.image_id} of {copy.first.split}",
        copy.first.image_id,
    )


def _require_every_split(rows: Sequence[ShardRow]) -> None:
    for name in SPLITS:
        found = [row for row in rows if row.split == name]
        if not found:
            raise DataError(f"no image of {name} could be read: see data/images/index.parquet")
        if all(row.status == "duplicate" for row in found):
            raise DataError(
                f"no image of {name} is left: {len(found)} of {len(found)} are copies, "
                f"first {found[0].image_id} ({found[0].reason}): remove the copies from "
                "dataset.root, or select more images"
            )


def _summarise(entries: Mapping[str, dict[str, Any]], copies: Mapping[int, Copy]) -> Summary:
    figures: dict[str, Any] = {
        name: {key: entry[key] for key in ("images", "captions")} for name, entry in entries.items()
    }
    out = sum(entry["images"] for entry in entries.values())
    failed = sum(copy.left_out for copy in copies.values())
    details = {"duplicates": count_copies(copies.values())}
    return Summary(Rows(out + failed, out, failed), figures, details=details)


def _require_one_selection(
    rows: Sequence[ImageRow],
    chosen: Mapping[int, SelectedImage],
    images: ImageEmbeddings,
    captions: CaptionEmbeddings,
) -> None:
    """Images, embeddings and selection must be of the same files and captions, not just ids."""
    expected = [
        (row.image_id, caption.caption_id)
        for row in rows
        for caption in (chosen[row.image_id].image.captions if row.image_id in chosen else ())
    ]
    found = list(zip(captions.image_ids.tolist(), captions.caption_ids.tolist(), strict=True))
    files = {(row.image_id, row.sha256) for row in rows}
    embedded = set(zip(images.image_ids.tolist(), images.sha256, strict=True))
    if files != embedded or expected != found or not files:
        raise DataError(
            "data/selection.parquet, data/images and data/embeddings are not of the same images "
            "and captions: run dvc repro"
        )


class _Packer:
    """Makes samples out of image rows, joining by id what belongs together."""

    def __init__(
        self,
        originals: OriginalStore,
        image_vectors: ImageEmbeddings,
        captions: CaptionEmbeddings,
        size_px: int,
        workers: int,
    ) -> None:
        self._originals = originals
        self._image_vectors = image_vectors
        self._captions = captions
        self._size_px = size_px
        self._workers = workers

    def samples(self, rows: Sequence[ImageRow]) -> Iterator[Sample]:
        """Yield the sample of each row, in order."""
        pngs = ordered_map(self._png, rows, workers=self._workers)
        ids = np.array([row.image_id for row in rows], np.int64)
        vectors = self._image_vectors.vectors[rows_of(self._image_vectors.image_ids, ids)]
        firsts = np.searchsorted(self._captions.image_ids, ids, side="left")
        lasts = np.searchsorted(self._captions.image_ids, ids, side="right")
        for row, png, vector, first, last in zip(rows, pngs, vectors, firsts, lasts, strict=True):
            places = slice(int(first), int(last))
            yield Sample(
                image_id=row.image_id,
                png=png,
                captions=self._captions_at(places),
                image_vector=vector,
                caption_vectors=self._captions.vectors[places],
            )

    def _png(self, row: ImageRow) -> bytes:
        return to_square_png(middle(decode(self._originals.read(row))), self._size_px)

    def _captions_at(self, places: slice) -> tuple[Caption, ...]:
        ids, texts = self._captions.caption_ids[places], self._captions.texts[places]
        return tuple(Caption(int(i), text) for i, text in zip(ids, texts, strict=True))

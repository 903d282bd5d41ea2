"""shard: pack squares, captions and vectors into WebDataset tars, no picture in two splits."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import starmap
from pathlib import Path
from typing import Any

import numpy as np
from PIL.Image import open as open_image
from pydantic import Field

from bucolic.base.engine import Engine, Ready, chunked, ordered_map
from bucolic.base.errors import DataError
from bucolic.base.files import replacing
from bucolic.base.progress import Progress
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.data.coco import Caption
from bucolic.data.duplicates import Placed
from bucolic.data.embeddings import (
    StoredEmbeddings,
    Vectors,
    check_same_towers,
    rows_of,
    to_numpy,
)
from bucolic.data.images import ImageRow, decoded
from bucolic.data.images import read_index as read_images
from bucolic.data.near_duplicates import Look, Pixels, looks_at
from bucolic.data.original_store import OriginalStore
from bucolic.data.repeats import Accounts, Pictures, account_for, require_apart
from bucolic.data.selection import Chosen, read_chosen
from bucolic.data.shards import (
    Sample,
    ShardIndex,
    Written,
    entry_of,
    packed_ids,
    tar_name,
    write_index,
    write_rows,
    write_tar,
)
from bucolic.data.split import SPLITS, SplitName
from bucolic.data.squares import Framing, Squares, SquareStore, Subject

LOOKED_AT_ONCE = 256  # of one worker, where several work
SEEN_AT_ONCE = 64


class ShardConfig(Framing):
    """The `shard` section: how pictures are made, which images and embed look at, too, and packed.

    Attributes:
        images_per_shard: samples in one tar; webdataset wants at least one tar a loading worker.
    """

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
    joined = _Joined(embeddings)
    good = [row for row in read_images(images) if row.status == "ok"]
    chosen = read_chosen(selection, {row.image_id for row in good})
    joined.require_same(good, chosen)
    threads = runtime.engine.threads(runtime.workers)
    pictures = _Pictures(config, runtime.cache, chosen.subjects, threads)
    placed = [Placed(row.image_id, str(row.sha256), chosen.splits[row.image_id]) for row in good]
    compared = _compared(good, pictures, runtime.engine)
    accounts = account_for(placed, compared)
    with replacing(out) as folder:
        folder.mkdir()
        entries: dict[str, dict[str, Any]] = {}
        for name in SPLITS:
            used = accounts.used(name)
            rows = [row for row in good if row.image_id in used]
            # By its whole path: a worker elsewhere has another working directory.
            tars = _tars(folder.resolve(), name, rows, joined, config.images_per_shard)
            entries[name] = _packed(tars, len(rows), pictures, runtime.engine)
        for torn in folder.glob(".*.tmp"):  # of workers that were killed: none writes any more
            torn.unlink()
        write_index(folder, ShardIndex(config.size_px, joined.clip, entries))
        write_rows(folder, accounts.rows)
        require_apart(_in_tars(folder, entries, placed), compared)
    return replace(_summarise(entries, accounts), engine=runtime.engine.name)


def _in_tars(
    folder: Path, entries: Mapping[str, dict[str, Any]], images: Iterable[Placed]
) -> list[Placed]:
    """Those of the images that the shards hold, each in the split whose shards hold it."""
    found = {
        number: name for name in SPLITS for number in packed_ids(folder, entries[name]["files"])
    }
    return [i._replace(split=found[i.image_id]) for i in images if i.image_id in found]


def _summarise(entries: Mapping[str, dict[str, Any]], accounts: Accounts) -> Summary:
    figures: dict[str, Any] = {
        name: {key: entry[key] for key in ("images", "captions")} for name, entry in entries.items()
    }
    out = sum(entry["images"] for entry in entries.values())
    into = len(accounts.rows)
    return Summary(Rows(into, out, into - out), figures, details=accounts.details)


class _Pictures:
    """The square of each image: as the images stage kept it, else made of its original."""

    def __init__(
        self,
        framing: Framing,
        cache: Path,
        subjects: Mapping[int, Subject],
        threads: int,
    ) -> None:
        self.format = framing.format
        self._squares = Squares(cache, framing)
        self._originals = OriginalStore(cache)
        self._subjects = subjects
        self._threads = threads

    def files(self, rows: Iterable[ImageRow]) -> Iterator[bytes]:
        """The coded square of each image, which is ok."""
        return ordered_map(self._file, rows, workers=self._threads)

    def looks(self, rows: Iterable[ImageRow]) -> Iterator[Look]:
        """How each image looks."""
        for some in chunked(ordered_map(self.pixels, rows, workers=self._threads), SEEN_AT_ONCE):
            yield from looks_at(np.stack(some))

    def pixels(self, row: ImageRow) -> Pixels:
        """What is compared of an image."""
        return np.asarray(open_image(BytesIO(self._square(self._squares.compared, row))))

    def _file(self, row: ImageRow) -> bytes:
        return self._square(self._squares.packed, row)

    def _square(self, store: SquareStore, row: ImageRow) -> bytes:
        digest, subject = str(row.sha256), self._subjects.get(row.image_id)
        if (kept := store.find(digest, subject)) is not None:
            return kept
        make = partial(self._squares.make, subject=subject)
        made = decoded(self._originals.read(row), make, self._squares.decode_px)
        self._squares.add(digest, subject, made)
        return made[self._squares.stores.index(store)]


def _compared(rows: Sequence[ImageRow], pictures: _Pictures, engine: Engine) -> Pictures:
    """How those images look."""
    by_id = {row.image_id: row for row in rows}
    seen = engine.map(Ready(pictures.looks), rows, chunk=LOOKED_AT_ONCE)
    looks = Progress("looked at for copies", len(rows)).over(seen)
    by_look = dict(zip(by_id, looks, strict=True))
    return Pictures(by_look, lambda image: pictures.pixels(by_id[image.image_id]))


@dataclass(frozen=True)
class _Belongings:
    """What belongs to an image beside its picture: captions, its vector and theirs."""

    captions: tuple[Caption, ...]
    image_vector: Vectors
    caption_vectors: Vectors


@dataclass(frozen=True)
class _Tar:
    """A shard to write, and the images that it holds."""

    path: Path
    rows: Sequence[ImageRow]
    belongings: Sequence[_Belongings]


def _tars(
    folder: Path, split: SplitName, rows: Sequence[ImageRow], joined: "_Joined", images_each: int
) -> Iterator[_Tar]:
    for number, start in enumerate(range(0, len(rows), images_each)):
        of_tar = rows[start : start + images_each]
        yield _Tar(folder / tar_name(split, number), of_tar, joined.of(of_tar))


@dataclass(frozen=True)
class _Packer:
    """Writes shards, in whatever process works."""

    pictures: _Pictures

    def __call__(self, tars: Iterable[_Tar]) -> Iterator[Written]:
        """What was written of each."""
        for tar in tars:
            files = self.pictures.files(tar.rows)
            samples = (
                Sample(row.image_id, file, **vars(of_image))
                for row, file, of_image in zip(tar.rows, files, tar.belongings, strict=True)
            )
            yield write_tar(tar.path, samples, format=self.pictures.format)


def _packed(
    tars: Iterable[_Tar], images: int, pictures: _Pictures, engine: Engine
) -> dict[str, Any]:
    """Write the shards of one split; returns its entry for index.json."""
    progress, written = Progress("packed", images), []
    for tar in engine.map(Ready(_Packer(pictures)), tars):
        written.append(tar)
        progress.add(tar.images)
    progress.close()
    return entry_of(written)


class _Joined:
    """Vectors and captions of images, which belong together by id, read for some at a time."""

    def __init__(self, folder: Path) -> None:
        self._images = StoredEmbeddings(folder / "images.parquet")
        self._captions = StoredEmbeddings(folder / "captions.parquet")
        self.clip = self._images.clip
        check_same_towers(self.clip, self._captions.clip, f"{folder}/captions.parquet")

    def require_same(self, rows: Sequence[ImageRow], chosen: Chosen) -> None:
        """Images, embeddings and selection must be of the same files and captions, not just ids.

        Raises:
            DataError: they are not.
        """
        embedded = zip(self._images.ids("image_id").tolist(), self._images.digests(), strict=True)
        if (
            not rows
            or [(row.image_id, row.sha256) for row in rows] != list(embedded)
            or not np.array_equal(self._captions.ids("image_id"), chosen.image_ids)
            or not np.array_equal(self._captions.ids("caption_id"), chosen.caption_ids)
            or len(chosen.splits) != len(rows)
        ):
            raise DataError(
                "data/selection.parquet, data/images and data/embeddings are not of the same "
                "images and captions: run dvc repro"
            )

    def of(self, rows: Sequence[ImageRow]) -> list[_Belongings]:
        """What belongs to each image; ids ascend."""
        ids = np.array([row.image_id for row in rows], np.int64)
        images = self._images.at(rows_of(self._images.ids("image_id"), ids))
        of_image = self._captions.ids("image_id")
        firsts, lasts = (np.searchsorted(of_image, ids, side) for side in ("left", "right"))
        ranges = map(np.arange, firsts.tolist(), lasts.tolist())
        captions = self._captions.at(np.concatenate([np.empty(0, np.int64), *ranges]))
        texts = zip(captions["caption_id"].to_pylist(), captions["text"].to_pylist(), strict=True)
        told = list(starmap(Caption, texts))
        vectors = to_numpy(captions["vector"])
        ends = (lasts - firsts).cumsum()
        places = [slice(int(a), int(b)) for a, b in zip(ends - (lasts - firsts), ends, strict=True)]
        return [
            _Belongings(tuple(told[at]), vector, vectors[at])
            for vector, at in zip(to_numpy(images["vector"]), places, strict=True)
        ]

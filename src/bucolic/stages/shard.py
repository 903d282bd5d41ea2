"""shard: pack squares, captions and vectors into WebDataset tars, equal pictures in one split."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from io import BytesIO
from itertools import chain, starmap
from pathlib import Path
from typing import Any, TypeVar

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
from bucolic.data.images import decoded
from bucolic.data.images import iterate_index as iterate_images
from bucolic.data.near_duplicates import Look, Looks, Pixels, looks_at
from bucolic.data.original_store import OriginalStore
from bucolic.data.pillow import prepare_pillow
from bucolic.data.repeats import Accounts, Pictures, account_for, require_apart
from bucolic.data.selection import Chosen, read_chosen
from bucolic.data.shards import (
    Entry,
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
from bucolic.data.squares import COMPARED_PX, Framing, Squares, SquareStore, Subject

LOOKED_AT_ONCE = 256  # of one worker, where several work
# Of squares that a thread is given at once: to hand over a small one takes longer than to read it.
PIXELS_AT_ONCE = 2**16
Made = TypeVar("Made")


class ShardConfig(Framing):
    """How pictures are made and packed; images and embed look at it, too.

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
    placed, subjects = _placed(selection, images, joined)
    threads = runtime.engine.threads(runtime.workers)
    pictures = _Pictures(config, runtime.cache, subjects, threads)
    compared = _compared(placed, pictures, runtime.engine)
    accounts = account_for(placed, compared)
    with replacing(out) as folder:
        folder.mkdir()
        entries: dict[SplitName, Entry] = {}
        for name in SPLITS:
            used = accounts.used(name)
            packed = [image for image in placed if image.image_id in used]
            # By its whole path: a worker elsewhere has another working directory.
            tars = _tars(folder.resolve(), name, packed, joined, config.images_per_shard)
            entries[name] = _packed(tars, len(packed), pictures, runtime.engine)
        for torn in folder.glob(".*.tmp"):  # of workers that were killed: none writes any more
            torn.unlink()
        write_index(folder, ShardIndex(config.size_px, joined.clip, entries))
        write_rows(folder, accounts.rows)
        require_apart(_in_tars(folder, entries, placed), compared)
    return replace(_summarise(entries, accounts), engine=runtime.engine.name)


def _placed(
    selection: Path, images: Path, joined: "_Joined"
) -> tuple[list[Placed], dict[int, Subject]]:
    """The images that are ok, ordered by id, and what they show, where that is known."""
    digests = {
        row.image_id: str(row.sha256) for row in iterate_images(images) if row.status == "ok"
    }
    chosen = read_chosen(selection, digests)
    joined.require_same(digests, chosen)
    placed = [Placed(number, digest, chosen.splits[number]) for number, digest in digests.items()]
    return placed, chosen.subjects


def _in_tars(
    folder: Path, entries: Mapping[SplitName, Entry], images: Iterable[Placed]
) -> list[Placed]:
    """Those of the images that the shards hold, each in the split whose shards hold it."""
    found = list[Placed]()
    for name in SPLITS:
        held = packed_ids(folder, entries[name]["files"])
        found += [image._replace(split=name) for image in images if image.image_id in held]
    return found


def _summarise(entries: Mapping[SplitName, Entry], accounts: Accounts) -> Summary:
    figures: dict[str, Any] = {
        name: {"images": entry["images"], "captions": entry["captions"]}
        for name, entry in entries.items()
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
        self._size_px = framing.size_px
        self._squares = Squares(cache, framing)
        self._originals = OriginalStore(cache)
        self._subjects = subjects
        self._threads = threads

    def files(self, images: Iterable[Placed]) -> Iterator[bytes]:
        """The coded square of each image."""
        return self._in_threads(self._files, images, self._size_px)

    def looks(self, images: Iterable[Placed]) -> Iterator[Look]:
        """How each image looks."""
        return self._in_threads(self._looks, images, COMPARED_PX)

    def pixels(self, image: Placed) -> Pixels:
        """What is compared of an image."""
        return np.asarray(open_image(BytesIO(self._square(self._squares.compared, image))))

    def _in_threads(
        self,
        function: Callable[[Sequence[Placed]], list[Made]],
        images: Iterable[Placed],
        size_px: int,
    ) -> Iterator[Made]:
        """What `function` makes of each image by a square of that size, in their order."""
        prepare_pillow()
        chunks = chunked(images, max(1, PIXELS_AT_ONCE // size_px**2))
        return chain.from_iterable(ordered_map(function, chunks, workers=self._threads))

    def _files(self, images: Sequence[Placed]) -> list[bytes]:
        return [self._square(self._squares.packed, image) for image in images]

    def _looks(self, images: Sequence[Placed]) -> list[Look]:
        return looks_at(np.stack([self.pixels(image) for image in images]))

    def _square(self, store: SquareStore, image: Placed) -> bytes:
        subject = self._subjects.get(image.image_id)
        if (kept := store.find(image.sha256, subject)) is not None:
            return kept
        make = partial(self._squares.make, subject=subject)
        original = self._originals.read(image.image_id, image.sha256)
        made = decoded(original, make, self._squares.decode_px)
        self._squares.add(image.sha256, subject, made)
        return made[self._squares.stores.index(store)]


def _compared(images: Sequence[Placed], pictures: _Pictures, engine: Engine) -> Pictures:
    """How those images look."""
    seen = engine.map(Ready(pictures.looks), images, chunk=LOOKED_AT_ONCE)
    looks = Progress("looked at for copies", len(images)).over(seen)
    ids = np.array([image.image_id for image in images], np.int64)
    return Pictures(ids, Looks.gathered(looks, len(images)), pictures.pixels)


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
    images: Sequence[Placed]
    belongings: Sequence[_Belongings]


def _tars(
    folder: Path, split: SplitName, images: Sequence[Placed], joined: "_Joined", images_each: int
) -> Iterator[_Tar]:
    for number, start in enumerate(range(0, len(images), images_each)):
        of_tar = images[start : start + images_each]
        yield _Tar(folder / tar_name(split, number), of_tar, joined.of(of_tar))


@dataclass(frozen=True)
class _Packer:
    """Writes shards, in whatever process works."""

    pictures: _Pictures

    def __call__(self, tars: Iterable[_Tar]) -> Iterator[Written]:
        """What was written of each."""
        for tar in tars:
            files = self.pictures.files(tar.images)
            samples = (
                Sample(image.image_id, file, **vars(belongings))
                for image, file, belongings in zip(tar.images, files, tar.belongings, strict=True)
            )
            yield write_tar(tar.path, samples, format=self.pictures.format)


def _packed(tars: Iterable[_Tar], images: int, pictures: _Pictures, engine: Engine) -> Entry:
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

    def require_same(self, digests: Mapping[int, str], chosen: Chosen) -> None:
        """Images, embeddings and selection must be of the same files and captions, not just ids.

        Args:
            digests: of the images' files, by id.
            chosen: what the selection says of those images.

        Raises:
            DataError: they are not, or there is none.
        """
        if not digests:
            raise DataError("no image could be read: see data/images/index.parquet")
        if (
            list(digests) != self._images.ids("image_id").tolist()
            or not self._images.are_of(digests.values())
            or not np.array_equal(self._captions.ids("image_id"), chosen.image_ids)
            or not np.array_equal(self._captions.ids("caption_id"), chosen.caption_ids)
            or len(chosen.splits) != len(digests)
        ):
            raise DataError(
                "data/selection.parquet, data/images and data/embeddings are not of the same "
                "images and captions: run dvc repro"
            )

    def of(self, images: Sequence[Placed]) -> list[_Belongings]:
        """What belongs to each image; ids ascend."""
        ids = np.array([image.image_id for image in images], np.int64)
        embedded = self._images.at(rows_of(self._images.ids("image_id"), ids))
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
            for vector, at in zip(to_numpy(embedded["vector"]), places, strict=True)
        ]

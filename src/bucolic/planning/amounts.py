"""How much the present params will choose, fetch and write, before anything is fetched."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bucolic.base.errors import DataError
from bucolic.base.places import dataset_root
from bucolic.data.coco import CaptionedImage, present_splits
from bucolic.data.squares import COMPARED_PX
from bucolic.fetching.archives import archive_folder
from bucolic.fetching.fetch import RemoteFile, bytes_to_come, is_local, local_path
from bucolic.fetching.source import (
    CocoSource,
    FolderSource,
    MeadowSource,
    Source,
    annotations_folder,
    read_source,
)
from bucolic.fetching.ways import COCO_IMAGE_BYTES, Fetch, is_worth, transfers_of
from bucolic.pipeline.params import Params, section_of
from bucolic.pipeline.record import read_record
from bucolic.pipeline.table import ANNOTATIONS
from bucolic.stages.filter import choose

CAPTIONS_EACH = 5  # of Meadow and nearly all of COCO
UNPACKED = 3.3  # bytes of annotation files for one of COCO's archive of them
PIXEL_BYTES = 2.0  # of a small PNG of a photograph
BYTES_PER_COCO_PIXEL = 0.54  # of a JPEG: 160 kB for 640 by 460
SCENE_BYTES = 8_300  # of a drawn scene's JPEG, the mean of 750
VECTOR_BYTES = 4


@dataclass(frozen=True)
class Amounts:
    """What a run of all stages works on.

    Attributes:
        images: chosen by the theme.
        captions: theirs.
        read: captions that filter reads.
        origin: where these three come from, as people say it.
        missing: of the images, all but those of a server whose files .cache has.
        original_bytes: that each of these takes there, on average.
        annotations_bytes: of the annotation archive, to come over the network.
        images_bytes: of image files, likewise.
        archives_bytes: those of them that come in archives, which stay beside what is read of them.
        drawn_bytes: of archives that will be drawn here, and stay likewise.
        transfers: how the images of each source split come, as people say it.
    """

    images: int
    captions: int
    read: int
    origin: str
    missing: int
    original_bytes: float = COCO_IMAGE_BYTES
    annotations_bytes: int = 0
    images_bytes: int = 0
    archives_bytes: int = 0
    drawn_bytes: int = 0
    transfers: tuple[str, ...] = ()

    @property
    def fetched_bytes(self) -> int:
        """All that comes over the network."""
        return self.annotations_bytes + self.images_bytes

    def written_bytes(self, *, size_px: int, embed_dim: int) -> float:
        """About how much all that is fetched and made takes on disk; DVC keeps a copy of it."""
        vectors = (self.images + self.captions) * embed_dim * VECTOR_BYTES
        squares = self.images * size_px**2 * PIXEL_BYTES
        compared = self.images * COMPARED_PX**2 * PIXEL_BYTES
        archives = self.annotations_bytes + self.archives_bytes + self.drawn_bytes
        in_cache = archives + self.missing * self.original_bytes + vectors + squares + compared
        outs = UNPACKED * self.annotations_bytes + 2 * vectors + squares  # with the shards
        return in_cache + 2 * outs


def amounts_of(root: Path, params: Params, cache: Path) -> Amounts:
    """What the theme chooses, counted where the annotations are there.

    Args:
        root: of the project.
        params: theme and data set.
        cache: where fetched files are kept.

    Raises:
        DataError: the data set cannot be used, or nothing says how much it holds.
    """
    source = read_source(dataset_root(root, params.dataset.root))
    if folder := _annotations(root, params, source):
        return _counted(folder, params, source, cache)
    if isinstance(source, MeadowSource):
        scenes = source.train + source.val + source.heldout
        captions = scenes * CAPTIONS_EACH
        return Amounts(
            scenes,
            captions,
            captions,
            "at most: all scenes that will be drawn",
            scenes,
            original_bytes=SCENE_BYTES,
            drawn_bytes=scenes * SCENE_BYTES,
        )
    assert isinstance(source, CocoSource), "a folder has its annotations"
    if source.estimate is None:
        raise DataError(
            "the annotations are not there yet and source.json has no estimate: "
            "dvc repro annotations fetches them"
        )
    return _estimated(source, cache, section_of(params, "images").fetch)


def _annotations(root: Path, params: Params, source: Source) -> Path | None:
    """A folder with the data set's annotation files; None where they have to be fetched."""
    if isinstance(source, FolderSource):
        return annotations_folder(Path(source.folder))
    folder, record = root / ANNOTATIONS, read_record(root / "reports/records/annotations.json")
    asked = record.get("params", {})
    of_data = asked.get("dataset", {}).get("root") == params.dataset.root
    # Without categories no instances came.
    enough = not params.filter.categories or asked.get("filter", {}).get("categories")
    return folder if of_data and enough and present_splits(folder) else None


def _counted(folder: Path, params: Params, source: Source, cache: Path) -> Amounts:
    theme = choose(folder, params.filter)
    theme.require_images(params.filter)
    read, rows = theme.read, theme.rows
    captions = int(np.isin(read.captions["image_row"].to_numpy(), rows).sum())
    origin = f"of {len(read.images):,} in the annotations"
    counted = Amounts(len(rows), captions, len(read.captions), origin, len(rows))
    chosen = read.images.take(rows)
    if isinstance(source, FolderSource) and _on_one_disk(Path(source.folder), cache):
        return replace(counted, original_bytes=0)
    if isinstance(source, MeadowSource):
        return replace(counted, original_bytes=SCENE_BYTES)
    if isinstance(source, FolderSource):
        return replace(counted, original_bytes=_photograph_bytes(chosen))
    fetch = section_of(params, "images").fetch
    transfers = transfers_of(source, list(_images(chosen)), cache, fetch, find=_seems_here)
    return replace(
        counted,
        missing=sum(transfer.missing for transfer in transfers),
        images_bytes=sum(transfer.size_bytes for transfer in transfers),
        archives_bytes=sum(t.size_bytes for t in transfers if t.archive and not t.in_parts),
        transfers=tuple(map(str, transfers)),
    )


def _on_one_disk(folder: Path, cache: Path) -> bool:
    """Whether files of a folder get a second name in the cache, and no copy."""
    there = next(place for place in (cache, *cache.parents) if place.exists())
    return folder.stat().st_dev == there.stat().st_dev


def _photograph_bytes(images: pa.Table) -> float:
    """Of each image's file on average, by its annotated size and what COCO's take for a pixel."""
    pixels = pc.mean(pc.multiply(images["width"], images["height"])).as_py()
    return COCO_IMAGE_BYTES if pixels is None else pixels * BYTES_PER_COCO_PIXEL


def _images(table: pa.Table) -> Iterator[CaptionedImage]:
    for row in table.to_pylist():
        yield CaptionedImage(**row, captions=())


def _estimated(source: CocoSource, cache: Path, fetch: Fetch) -> Amounts:
    about = source.estimate
    assert about is not None
    archives = [images.archive for images in source.images.values() if images.archive]
    archives_bytes = sum(_to_come(archive, cache) for archive in archives)
    singly_bytes = about.images * COCO_IMAGE_BYTES
    by_archive = fetch == "archive" or (
        fetch == "auto" and bool(archives) and is_worth(archives_bytes, about.images)
    )
    return Amounts(
        about.images,
        about.captions,
        about.captions_read,
        f"estimate, for {about.theme}",
        about.images,
        annotations_bytes=_to_come(source.annotations, cache),
        images_bytes=archives_bytes if by_archive else singly_bytes,
        archives_bytes=archives_bytes if by_archive else 0,
    )


def _to_come(archive: RemoteFile, cache: Path) -> int:
    folder = archive_folder(cache, archive)
    return 0 if _seems_here(archive, folder) else bytes_to_come(archive, folder)


def _seems_here(remote: RemoteFile, folder: Path) -> Path | None:
    """Where a file of the right size lies on this machine: its digest would take a minute."""
    places = [local_path(url) for url in remote.urls if is_local(url)]
    for path in [*places, folder / remote.name]:
        if path.is_file() and path.stat().st_size == remote.size_bytes:
            return path
    return None

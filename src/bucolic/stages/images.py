"""images: get the chosen image files, check each one, and keep the originals by their digests."""

import logging
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from pydantic import Field

from bucolic.base.engine import ordered_map
from bucolic.base.errors import DataError, TransientError
from bucolic.base.files import replacing
from bucolic.base.progress import Progress
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.data.coco import CaptionedImage
from bucolic.data.images import ImageRow, check_image, write_index
from bucolic.data.original_store import OriginalStore
from bucolic.data.selection import read_selection
from bucolic.fetching.fetch import AwayError, NotThereError
from bucolic.fetching.originals import Fetch, Originals, open_originals
from bucolic.fetching.source import MeadowSource, read_source

logger = logging.getLogger(__name__)
FAILURES_LISTED = 100  # in the record; data/images/index.parquet has all
PAUSE_S = 5.0  # before what failed for now is tried a second time


class ImagesConfig(Section):
    """The `images` section.

    Attributes:
        fetch: how images come that the cache lacks, chosen for each source split. "files" gets them
            one by one. With "archive" all images of the split are read from its archive, which is
            fetched. "auto" does that where the archive is on this disk, or the missing images make
            more than 30 % of it or have no address, and else gets them one by one.
        max_failed_share: share of images that may be missing or broken for good.
        connections: simultaneous transfers; COCO's server slows down those who open too many.
    """

    fetch: Fetch = "auto"
    max_failed_share: float = Field(default=0.05, ge=0, le=1)
    connections: int = Field(default=16, ge=1, le=64)


def get_images(
    root: Path, selection: Path, out: Path, *, config: ImagesConfig, runtime: Runtime
) -> Summary:
    """Keep the originals and write their index; a failed image is a row with its reason.

    Args:
        root: folder of the data set, see fetching/source.py.
        selection: the Parquet file of the filter stage.
        out: folder to write, see data/images.py.
        config: how to fetch and how much may fail.
        runtime: the originals are kept in its cache.

    Raises:
        DataError: more images failed for good than the threshold forgives.
        TransientError: images could not be fetched now, also on a second try; all others were,
            and are kept.
    """
    chosen = [row.image for row in read_selection(selection)]
    source = read_source(root)
    if isinstance(source, MeadowSource):
        from bucolic.meadow import archive

        source = archive.draw(source, runtime.cache / "meadow", runtime.workers)
    originals = open_originals(
        source, chosen, runtime.cache, fetch=config.fetch, connections=config.connections
    )
    store = OriginalStore(runtime.cache)
    store.sweep()
    rows = _kept(chosen, _Reader(originals, store), config.connections)
    _check_threshold(rows, config)
    with replacing(out) as folder:
        folder.mkdir()
        write_index(folder, rows)
    return _summarise(rows, originals.fetched)


class _Reader:
    """Reads, checks and keeps images from several threads.

    Attributes:
        rows: of the images that came or failed for good, by image id.
        late: what kept an image from being fetched now, by image id.
    """

    def __init__(self, originals: Originals, store: OriginalStore) -> None:
        self._originals, self._store = originals, store
        self.rows: dict[int, ImageRow] = {}
        self.late: dict[int, AwayError] = {}

    def read(self, image: CaptionedImage) -> None:
        """Bring an image into the store, where it can be had now and is sound."""
        try:
            self.rows[image.image_id] = _read(image, self._originals, self._store)
        except AwayError as error:
            self.late[image.image_id] = error

    def forgive(self) -> None:
        """Hold nothing that was late against its image or its server."""
        self.late.clear()
        self._originals.forgive()


def _kept(chosen: Sequence[CaptionedImage], reader: _Reader, workers: int) -> list[ImageRow]:
    """The row of each image, in their order; what was late is asked for once more at the end."""
    results = ordered_map(reader.read, chosen, workers=workers)
    for _ in Progress("images fetched and checked", len(chosen)).over(results):
        pass
    if reader.late:
        _try_again(chosen, reader, workers)
    return [reader.rows[image.image_id] for image in chosen]


def _try_again(chosen: Sequence[CaptionedImage], reader: _Reader, workers: int) -> None:
    left = [image for image in chosen if image.image_id in reader.late]
    logger.warning("%d images did not come: trying them again", len(left))
    time.sleep(PAUSE_S)
    reader.forgive()
    for _ in ordered_map(reader.read, left, workers=workers):
        pass
    _require_all(chosen, reader)


def _require_all(chosen: Sequence[CaptionedImage], reader: _Reader) -> None:
    late = [reader.late[image.image_id] for image in chosen if image.image_id in reader.late]
    if late:
        raise TransientError(
            f"{len(late)} of {len(chosen)} images could not be fetched now (first: {late[0]}): "
            "run the same command again"
        )


def _read(image: CaptionedImage, originals: Originals, store: OriginalStore) -> ImageRow:
    try:
        content = originals.read(image)
        checked = check_image(content, image.width, image.height)
        if checked.status != "ok":
            # The copy in the cache may be what is broken: the source itself has the last word.
            originals.forget(image)
            content = originals.read(image)
            checked = check_image(content, image.width, image.height)
    except NotThereError as error:
        return ImageRow(image.image_id, error.status, str(error))
    if checked.status != "ok":
        originals.forget(image)
        return ImageRow(image.image_id, checked.status, checked.reason)
    digest, size_bytes = store.add(content), len(content)
    return ImageRow(image.image_id, "ok", "", size_bytes, digest, checked.mode)


def _check_threshold(rows: Sequence[ImageRow], config: ImagesConfig) -> None:
    failed = [row for row in rows if row.status != "ok"]
    if not failed:
        return
    counts = dict(sorted(Counter(row.status for row in failed).items()))
    said = (
        f"{len(failed)} of {len(rows)} images failed {counts}, first {failed[0].image_id} "
        f"({failed[0].reason})"
    )
    if len(failed) > config.max_failed_share * len(rows):
        raise DataError(f"{said}: mend dataset.root, or raise images.max_failed_share")
    logger.warning("%s; the others are used, and data/images/index.parquet has each reason", said)


def _summarise(rows: Sequence[ImageRow], fetched: set[int] | None) -> Summary:
    good = [row for row in rows if row.status == "ok"]
    figures = {
        "status": dict(sorted(Counter(row.status for row in rows).items())),
        "modes": dict(sorted(Counter(str(row.mode) for row in good).items())),
        "bytes": sum(row.size_bytes or 0 for row in good),
    }
    failures = {str(r.image_id): f"{r.status}: {r.reason}" for r in rows if r.status != "ok"}
    details = {"failures": dict(islice(failures.items(), FAILURES_LISTED))}
    counts = Rows(len(rows), len(good), len(rows) - len(good))
    new = None if fetched is None else sum(row.image_id in fetched for row in good)
    reused = None if new is None else len(good) - new
    return Summary(counts, figures, details=details, new=new, reused=reused)

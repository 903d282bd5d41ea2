"""images: get the chosen image files, check each one, and pack the originals into tars."""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
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
from bucolic.data.images import ImageRow, TarSequence, check_image, write_index
from bucolic.data.names import canonical
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
    """Write the tars of originals and their index; a failed image is a row with its reason.

    Args:
        root: folder of the data set, see fetching/source.py.
        selection: the Parquet file of the filter stage.
        out: folder to write, see data/images.py.
        config: how to fetch and how much may fail.
        runtime: fetched files are kept in its cache.

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
    with replacing(out) as folder:
        folder.mkdir()
        rows = _pack(chosen, _Reader(originals), folder, config.connections)
        _check_threshold(rows, config)
        write_index(folder, rows)
    return _summarise(rows, originals.fetched)


class _Reader:
    """Reads and checks images from several threads, and remembers those that failed.

    Attributes:
        failed: the rows of images that failed for good, by image id; they are not read again.
        late: what kept an image from being fetched now, by image id.
    """

    def __init__(self, originals: Originals) -> None:
        self._originals = originals
        self.failed: dict[int, ImageRow] = {}
        self.late: dict[int, AwayError] = {}

    def read(self, image: CaptionedImage) -> tuple[ImageRow, bytes] | None:
        """The row of an image and its bytes; None where it is late."""
        if known := self.failed.get(image.image_id):
            return known, b""
        try:
            row, content = _read(image, self._originals)
        except AwayError as error:
            self.late[image.image_id] = error
            return None
        if row.status != "ok":
            self.failed[image.image_id] = row
        return row, content

    def forgive(self) -> None:
        """Hold nothing that was late against its image or its server."""
        self.late.clear()
        self._originals.forgive()


def _pack(
    chosen: Sequence[CaptionedImage], reader: _Reader, folder: Path, workers: int
) -> list[ImageRow]:
    """Write the tars; again from the first image where some came on the second try alone.

    Files stand in the tars in the order of their ids, whatever came when.
    """
    rows = _write_tars(chosen, reader, folder, workers)
    if reader.late:
        _try_again(chosen, reader, workers)
        rows = _write_tars(chosen, reader, folder, workers)
    _require_all(chosen, reader)
    return rows


def _write_tars(
    chosen: Sequence[CaptionedImage], reader: _Reader, folder: Path, workers: int
) -> list[ImageRow]:
    tars, rows = TarSequence(folder), []
    results = ordered_map(reader.read, chosen, workers=workers)
    progress = Progress("images fetched and packed", len(chosen))
    for image, result in progress.over(zip(chosen, results, strict=True)):
        if result is None or reader.late:
            continue  # these tars lack an image and will be written again; fetch on
        row, content = result
        if row.status == "ok":
            tar, offset = tars.add(f"{image.source_split}/{canonical(image.file_name)}", content)
            row = replace(row, tar=tar, offset=offset)
        rows.append(row)
    tars.close()
    return rows


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


def _read(image: CaptionedImage, originals: Originals) -> tuple[ImageRow, bytes]:
    try:
        content = originals.read(image)
        checked = check_image(content, image.width, image.height)
        if checked.status != "ok":
            # The copy in the cache may be what is broken: the source itself has the last word.
            originals.forget(image)
            content = originals.read(image)
            checked = check_image(content, image.width, image.height)
    except NotThereError as error:
        return ImageRow(image.image_id, error.status, str(error)), b""
    if checked.status != "ok":
        originals.forget(image)
        return ImageRow(image.image_id, checked.status, checked.reason), b""
    digest = hashlib.sha256(content).hexdigest()
    row = ImageRow(image.image_id, "ok", size_bytes=len(content), sha256=digest, mode=checked.mode)
    return row, content


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

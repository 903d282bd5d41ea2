"""images: get the chosen image files, check each one, and pack the originals into tars."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import Field

from bucolic.config import Section
from bucolic.data.coco import CaptionedImage
from bucolic.data.fetch import NotThereError
from bucolic.data.images import ImageRow, TarSequence, check_image, write_index
from bucolic.data.names import canonical
from bucolic.data.originals import Fetch, Originals, open_originals
from bucolic.data.selection import read_selection
from bucolic.data.source import MeadowSource, read_source
from bucolic.engine import ordered_map
from bucolic.errors import DataError
from bucolic.files import replacing
from bucolic.report import Rows, Summary
from bucolic.runtime import Runtime


class ImagesConfig(Section):
    """The `images` section.

    Attributes:
        fetch: "files" gets the chosen images one by one, "archive" the whole archive, "auto" the
            archive where the chosen images make more than 30 % of it or have no address.
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
        root: folder of the data set, see data/source.py.
        selection: the Parquet file of the filter stage.
        out: folder to write, see data/images.py.
        config: how to fetch and how much may fail.
        runtime: fetched files are kept in its cache.

    Raises:
        DataError: more images failed for good than the threshold forgives.
        TransientError: an image could not be fetched now; what was fetched is kept.
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
        rows = _pack(chosen, originals, folder, config.connections)
        _check_threshold(rows, config)
        write_index(folder, rows)
    return _summarise(rows, originals.fetched)


def _pack(
    chosen: Sequence[CaptionedImage], originals: Originals, folder: Path, workers: int
) -> list[ImageRow]:
    tars, rows = TarSequence(folder), []
    results = ordered_map(lambda image: _read(image, originals), chosen, workers=workers)
    for image, (row, content) in zip(chosen, results, strict=True):
        if row.status != "ok":
            rows.append(row)
            continue
        tar, offset = tars.add(f"{image.source_split}/{canonical(image.file_name)}", content)
        rows.append(replace(row, tar=tar, offset=offset))
    tars.close()
    return rows


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
        return ImageRow(image.image_id, "not_found", str(error)), b""
    if checked.status != "ok":
        originals.forget(image)
        return ImageRow(image.image_id, checked.status, checked.reason), b""
    digest = hashlib.sha256(content).hexdigest()
    row = ImageRow(image.image_id, "ok", size_bytes=len(content), sha256=digest, mode=checked.mode)
    return row, content


def _check_threshold(rows: Sequence[ImageRow], config: ImagesConfig) -> None:
    failed = [row for row in rows if row.status != "ok"]
    if len(failed) > config.max_failed_share * len(rows):
        counts = dict(sorted(Counter(row.status for row in failed).items()))
        raise DataError(
            f"{len(failed)} of {len(rows)} images failed {counts}, first {failed[0].image_id} "
            f"({failed[0].reason}): mend dataset.root, or raise images.max_failed_share"
        )


def _summarise(rows: Sequence[ImageRow], fetched: set[int] | None) -> Summary:
    good = [row for row in rows if row.status == "ok"]
    figures = {
        "status": dict(sorted(Counter(row.status for row in rows).items())),
        "modes": dict(sorted(Counter(str(row.mode) for row in good).items())),
        "bytes": sum(row.size_bytes or 0 for row in good),
        "failures": {str(r.image_id): f"{r.status}: {r.reason}" for r in rows if r.status != "ok"},
    }
    counts = Rows(len(rows), len(good), len(rows) - len(good))
    new = None if fetched is None else sum(row.image_id in fetched for row in good)
    return Summary(counts, figures, new=new, reused=None if new is None else len(good) - new)

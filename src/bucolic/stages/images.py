"""images: get the chosen image files, check each one, keep originals and their squares by digest.

One decode checks a file to its last pixel and makes the square picture that the shard stage packs.
A file whose square is kept was checked before, and only its header is looked at again.
"""

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from pydantic import Field

from bucolic.base.engine import Engine, ordered_map
from bucolic.base.errors import DataError, TransientError
from bucolic.base.files import replacing
from bucolic.base.progress import Progress
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.data.images import Checked, ImageRow, check_header, check_image, write_index
from bucolic.data.original_store import OriginalStore
from bucolic.data.pillow import prepare_pillow
from bucolic.data.selection import SelectedImage, read_selection
from bucolic.data.squares import Framing, Squares
from bucolic.fetching.http import AwayError, NotThereError
from bucolic.fetching.originals import Originals
from bucolic.fetching.source import MeadowSource, read_source
from bucolic.fetching.ways import Fetch, Ways, find_ways

logger = logging.getLogger(__name__)
FAILURES_LISTED = 100  # in the record; data/images/index.parquet has all
IMAGES_AT_ONCE = 256  # of one worker, where several work
PAUSE_S = 5.0  # before what failed for now is tried a second time


class ImagesConfig(Section):
    """How images are fetched, and how many may fail.

    Attributes:
        fetch: how images come that the cache lacks, chosen for each source split. "files" gets them
            one by one. With "archive" all images of the split are read from its archive, which is
            fetched. "auto" does that where the archive is on this disk or the missing images make
            more than 30 % of it, and else gets them one by one: from their addresses, or where they
            have none by ranges of bytes out of the archive on its server, if that has them.
        max_failed_share: share of images that may be missing or broken for good.
        connections: simultaneous transfers; COCO's server slows down those who open too many.
    """

    fetch: Fetch = "auto"
    max_failed_share: float = Field(default=0.05, ge=0, le=1)
    connections: int = Field(default=16, ge=1, le=64)


def get_images(
    root: Path,
    selection: Path,
    out: Path,
    *,
    config: ImagesConfig,
    shard: Framing,
    runtime: Runtime,
) -> Summary:
    """Keep the originals and write their index; a failed image is a row with its reason.

    Args:
        root: folder of the data set, see fetching/source.py.
        selection: the Parquet file of the filter stage.
        out: folder to write, see data/images.py.
        config: how to fetch and how much may fail.
        shard: how originals become squares.
        runtime: originals and squares are kept in its cache.

    Raises:
        DataError: more images failed for good than the threshold forgives.
        TransientError: images could not be fetched now, also on a second try; all others were,
            and are kept.
    """
    chosen = read_selection(selection, without=("captions", "keywords"))
    source = read_source(root)
    if isinstance(source, MeadowSource):
        from bucolic.meadow import archive

        source = archive.draw(source, runtime.cache / "meadow", runtime.workers)
    ways = find_ways(source, [row.image for row in chosen], runtime.cache, config.fetch)
    keeper = _Keeper(OriginalStore(runtime.cache), Squares(runtime.cache, shard))
    keeper.sweep()
    workers, threads = runtime.engine.workers(), runtime.engine.threads(runtime.workers)
    if ways.wait_for_servers:  # what waits for a server is no work
        workers = min(workers, config.connections)
        threads = config.connections // workers
    outcomes = _read_all(chosen, _Opener(ways, keeper, threads), runtime.engine, workers)
    rows = [outcome.row for outcome in outcomes if outcome.row]
    _check_threshold(rows, config)
    with replacing(out) as folder:
        folder.mkdir()
        write_index(folder, rows)
    return replace(_summarise(rows, outcomes), engine=runtime.engine.name)


class _Keeper:
    """Checks files, and keeps those that are sound with their squares."""

    def __init__(self, originals: OriginalStore, squares: Squares) -> None:
        self._originals, self._squares = originals, squares

    def keep(self, chosen: SelectedImage, content: bytes, place: Path | None) -> ImageRow:
        """The row of an image's file; where that is sound, it is kept."""
        image, digest = chosen.image, hashlib.sha256(content).hexdigest()
        checked = self._known(chosen, digest, content) or self._decoded(chosen, digest, content)
        if checked.status != "ok":
            return ImageRow(image.image_id, checked.status, checked.reason)
        self._originals.add(content, digest, place)
        return ImageRow(image.image_id, "ok", "", len(content), digest, checked.mode)

    def _known(self, chosen: SelectedImage, digest: str, content: bytes) -> Checked | None:
        if not self._squares.hold(digest, chosen.subject):
            return None
        return check_header(content, chosen.image.width, chosen.image.height)

    def _decoded(self, chosen: SelectedImage, digest: str, content: bytes) -> Checked:
        size = chosen.image.width, chosen.image.height
        make = partial(self._squares.make, subject=chosen.subject)
        checked = check_image(content, *size, make, decode_px=self._squares.decode_px)
        if checked.status == "ok":
            self._squares.add(digest, chosen.subject, checked.made)
        return checked

    def sweep(self) -> None:
        """Remove what killed processes left half written."""
        self._originals.sweep()


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one image.

    Attributes:
        row: of the image that came or failed for good.
        late: what kept it from being fetched now, where there is no row.
        again: the image, to be asked for once more, where it is late.
        fetched: whether it came over the network; None where none does.
    """

    row: ImageRow | None = None
    late: AwayError | None = None
    again: SelectedImage | None = None
    fetched: bool | None = None


@dataclass(frozen=True)
class _Opener:
    """Opens readers, in whatever process works.

    Attributes:
        ways: how images are read.
        keeper: keeps what is sound.
        threads: of each reader.
    """

    ways: Ways
    keeper: _Keeper
    threads: int

    def __call__(self) -> "_Reader":
        prepare_pillow()
        return _Reader(self.ways.open(self.threads), self.keeper, self.threads)


class _Reader:
    """Reads, checks and keeps images in several threads."""

    def __init__(self, originals: Originals, keeper: _Keeper, threads: int) -> None:
        self._originals, self._keeper, self._threads = originals, keeper, threads

    def __call__(self, chosen: Iterable[SelectedImage]) -> Iterator[_Outcome]:
        """What becomes of each image, in their order."""
        return ordered_map(self._read, chosen, workers=self._threads)

    def _read(self, chosen: SelectedImage) -> _Outcome:
        """Bring an image into the store, where it can be had now and is sound."""
        try:
            row = self._row_of(chosen)
        except AwayError as error:
            return _Outcome(late=error, again=chosen)
        return _Outcome(row, fetched=self._originals.was_fetched(chosen.image))

    def _row_of(self, chosen: SelectedImage) -> ImageRow:
        image = chosen.image
        try:
            row = self._kept(chosen)
            if row.status != "ok" and not self._originals.was_fetched(image):
                # The copy in the cache may be what is broken: the source has the last word.
                self._originals.forget(image)
                row = self._kept(chosen)
        except NotThereError as error:
            return ImageRow(image.image_id, error.status, str(error))
        if row.status == "ok":
            self._originals.keep(image, str(row.sha256))
        else:
            self._originals.forget(image)
        return row

    def _kept(self, chosen: SelectedImage) -> ImageRow:
        content = self._originals.read(chosen.image)
        return self._keeper.keep(chosen, content, self._originals.place(chosen.image))


def _read_all(
    chosen: list[SelectedImage], open_reader: _Opener, engine: Engine, workers: int
) -> list[_Outcome]:
    """What became of each image, in their order; what was late is asked for once more at the end.

    The list is emptied on the way.

    Raises:
        TransientError: images were late both times.
    """
    read = partial(engine.map, open_reader, chunk=IMAGES_AT_ONCE, most=workers)
    progress = Progress("images fetched and checked", len(chosen))
    outcomes = list(progress.over(read(_let_go(chosen))))
    late = [place for place, outcome in enumerate(outcomes) if outcome.late]
    if late:
        logger.warning("%d images did not come: trying them again", len(late))
        time.sleep(PAUSE_S)
        # By new readers, which hold nothing against a server.
        again = read([each.again for each in outcomes if each.again is not None])
        for place, outcome in zip(late, again, strict=True):
            outcomes[place] = outcome
    _require_all(outcomes)
    return outcomes


def _let_go(chosen: list[SelectedImage]) -> Iterator[SelectedImage]:
    """The images in their order, each held no longer than it is worked on."""
    chosen.reverse()
    while chosen:
        yield chosen.pop()


def _require_all(outcomes: Sequence[_Outcome]) -> None:
    late = [outcome.late for outcome in outcomes if outcome.late]
    if late:
        raise TransientError(
            f"{len(late)} of {len(outcomes)} images could not be fetched now (first: {late[0]}): "
            "run the same command again"
        )


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


def _summarise(rows: Sequence[ImageRow], outcomes: Sequence[_Outcome]) -> Summary:
    good = [row for row in rows if row.status == "ok"]
    figures = {
        "status": dict(sorted(Counter(row.status for row in rows).items())),
        "modes": dict(sorted(Counter(str(row.mode) for row in good).items())),
        "bytes": sum(row.size_bytes or 0 for row in good),
    }
    failures = {str(r.image_id): f"{r.status}: {r.reason}" for r in rows if r.status != "ok"}
    details = {"failures": dict(islice(failures.items(), FAILURES_LISTED))}
    counts = Rows(len(rows), len(good), len(rows) - len(good))
    came = [o.fetched for o in outcomes if o.row and o.row.status == "ok"]
    new = None if None in came else sum(map(bool, came))
    reused = None if new is None else len(good) - new
    return Summary(counts, figures, details=details, new=new, reused=reused)

"""Meadow as three zip archives in COCO 2017's exact layout, drawn once and then fetched like COCO.

Every scene depends on the seed, its part and its index alone, so the archives are the same for
any number of workers. Their digests are written beside them when they are drawn: JPEG and zip
bytes may differ between builds of the libraries, so no digest is pinned in the source.
"""

import functools
import hashlib
import importlib.metadata
import io
import json
import multiprocessing
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bucolic.base.files import file_digest, fingerprint, replacing, write_json
from bucolic.base.progress import Progress
from bucolic.base.signals import follow_parent, held_back
from bucolic.data.coco import SOURCE_SPLITS, SourceSplit
from bucolic.fetching.fetch import RemoteFile
from bucolic.fetching.source import CocoSource, ImageSource, MeadowSource
from bucolic.meadow.coco_records import (
    FIRST_IDS,
    Record,
    Specimen,
    annotation_documents,
    file_name,
    instance_records,
    parts_of,
    scene_of,
    specimen,
)
from bucolic.meadow.draw import draw_scene
from bucolic.meadow.scenes import Scene

ANNOTATIONS = "annotations_trainval2017.zip"
DIGESTS = "digests.json"
JPEG_QUALITY = 95
ZIP_DATE = (2017, 9, 1, 0, 0, 0)
CHUNK_SCENES = 250
# Below this many scenes, starting processes costs more than they save.
WORTH_PROCESSES = 1000
Chunk = tuple[str, int, int]
Apply = Callable[[Callable[[Chunk], Any], Sequence[Chunk]], Iterable[Any]]


def draw(source: MeadowSource, folder: Path, workers: int) -> CocoSource:
    """Draw the data set unless it is there, and say where it is as one would of COCO.

    Args:
        source: seed and counts.
        folder: where drawn data sets are kept, each under a name made of its source and of the
            code and libraries that drew it.
        workers: processes that draw.

    Returns:
        The archives by file:// address, size and sha256.
    """
    home = folder.resolve() / _key(source)
    digests = _read_digests(home) or draw_archive(source, home, workers)
    remote = {
        name: RemoteFile(name=name, urls=((home / name).as_uri(),), **about)
        for name, about in digests.items()
    }
    images = {split: ImageSource(archive=remote[f"{split}.zip"]) for split in SOURCE_SPLITS}
    return CocoSource(kind="coco", annotations=remote[ANNOTATIONS], images=images)


def draw_archive(source: MeadowSource, folder: Path, workers: int) -> dict[str, Any]:
    """Write all three archives and, last, their sizes and sha256; returns those."""
    with _mapping(source, workers) as apply:
        _write_annotations(source, folder, apply)
        for split in SOURCE_SPLITS:
            _write_images(source, folder, split, apply)
    names = [ANNOTATIONS, *(f"{split}.zip" for split in SOURCE_SPLITS)]
    digests = {name: _about(folder / name) for name in names}
    write_json(folder / DIGESTS, digests)
    return digests


def draw_annotations(source: MeadowSource, folder: Path, workers: int) -> None:
    """Write annotations_trainval2017.zip; no picture is drawn for it."""
    with _mapping(source, workers) as apply:
        _write_annotations(source, folder, apply)


def draw_images(source: MeadowSource, folder: Path, split: SourceSplit, workers: int) -> None:
    """Write SPLIT.zip, the pictures of one split as JPEG files, stored uncompressed."""
    with _mapping(source, workers) as apply:
        _write_images(source, folder, split, apply)


@contextmanager
def _mapping(source: MeadowSource, workers: int) -> Iterator[Apply]:
    """Yield a function like `map`: in processes of their own where that pays."""
    if workers < 2 or source.train + source.val + source.heldout < WORTH_PROCESSES:
        yield map
        return
    # A forked child of a process with running threads can hang; a spawned one cannot.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=follow_parent)

    def apply(function: Callable[[Chunk], Any], chunks: Sequence[Chunk]) -> Iterable[Any]:
        with held_back():  # the processes start here and inherit what is held back
            return pool.map(function, chunks)

    try:
        yield apply
    finally:
        pool.shutdown(cancel_futures=True)  # who was interrupted wants no more scenes


def _write_annotations(source: MeadowSource, folder: Path, apply: Apply) -> None:
    files: dict[str, bytes] = {}
    for split in SOURCE_SPLITS:
        pieces = list(apply(functools.partial(_annotated, source), _chunks(source, split)))
        entries = [entry for chunk, _ in pieces for entry in chunk]
        instances = [record for _, chunk in pieces for record in chunk]
        for kind, document in annotation_documents(entries, instances, split).items():
            files[f"annotations/{kind}_{split}.json"] = json.dumps(document).encode()
    _write_zip(folder / ANNOTATIONS, sorted(files.items()), zipfile.ZIP_DEFLATED)


def _write_images(source: MeadowSource, folder: Path, split: SourceSplit, apply: Apply) -> None:
    chunks = _chunks(source, split)
    progress = Progress(f"drew {split}", sum(stop - start for _, start, stop in chunks))
    pieces = progress.over(apply(functools.partial(_pictures, source), chunks), count=len)
    files = ((f"{split}/{name}", content) for piece in pieces for name, content in piece)
    _write_zip(folder / f"{split}.zip", files, zipfile.ZIP_STORED)


def _chunks(source: MeadowSource, split: SourceSplit) -> list[Chunk]:
    """Pieces of work, as part, first index and index after the last, in the order of image ids."""
    totals = {"train": source.train, "val": source.val, "heldout": source.heldout}
    return [
        (part, start, min(start + CHUNK_SCENES, totals[part]))
        for part in parts_of(split)
        for start in range(0, totals[part], CHUNK_SCENES)
    ]


def _annotated(source: MeadowSource, chunk: Chunk) -> tuple[list[Specimen], list[Record]]:
    part, start, stop = chunk
    entries = [specimen(source, part, index) for index in range(start, stop)]
    return entries, [record for entry in entries for record in instance_records(entry)]


def _pictures(source: MeadowSource, chunk: Chunk) -> list[tuple[str, bytes]]:
    part, start, stop = chunk
    return [
        (file_name(FIRST_IDS[part] + index), _jpeg(scene_of(source, part, index)))
        for index in range(start, stop)
    ]


def _jpeg(scene: Scene) -> bytes:
    buffer = io.BytesIO()
    draw_scene(scene).save(buffer, "JPEG", quality=JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def _write_zip(path: Path, files: Any, compression: int) -> None:
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", compression) as bundle:
        for name, content in files:
            member = zipfile.ZipInfo(name, ZIP_DATE)
            member.external_attr = 0o644 << 16
            bundle.writestr(member, content, compress_type=compression)


def _about(path: Path) -> dict[str, Any]:
    return {"size_bytes": path.stat().st_size, "sha256": file_digest(path)}


def _read_digests(home: Path) -> dict[str, Any] | None:
    """The digests of archives that are there and whole, else None."""
    try:
        digests: dict[str, Any] = json.loads((home / DIGESTS).read_text())
        whole = all(_about(home / name) == about for name, about in digests.items())
    except (OSError, ValueError):
        return None
    return digests if whole else None


def _key(source: MeadowSource) -> str:
    code = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        code.update(path.read_bytes())
    libraries = {name: importlib.metadata.version(name) for name in ("numpy", "pillow")}
    return fingerprint([source.model_dump(), code.hexdigest(), libraries])

"""annotations: get the annotation files of the data set, verified, into data/annotations/."""

import zipfile
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from bucolic.data.coco import (
    KINDS,
    SOURCE_SPLITS,
    Document,
    Kind,
    SourceSplit,
    annotation_file,
    captioned_images,
    parse_json,
)
from bucolic.data.fetch import fetch_file, open_session
from bucolic.data.names import canonical
from bucolic.data.source import (
    CocoSource,
    FolderSource,
    MeadowSource,
    read_source,
    require_digested,
)
from bucolic.errors import DataError
from bucolic.files import replacing
from bucolic.report import Rows, Summary
from bucolic.runtime import Runtime


@dataclass(frozen=True)
class _File:
    """One annotation file of the user's, as bytes; `told` is what messages call it."""

    kind: Kind
    split: SourceSplit
    content: bytes
    told: str


def get_annotations(root: Path, out: Path, *, runtime: Runtime) -> Summary:
    """Fetch or copy the captions, instances and attributes there are.

    Each must be JSON, and the captions what the filter stage can read: here the file that has to
    be mended is known by its own name.

    Args:
        root: folder of the data set, see data/source.py.
        out: folder to write.
        runtime: archives are kept in its cache.

    Raises:
        DataError: nothing to read, a wrong checksum, a broken archive, broken JSON, or a record of
            the captions that cannot be used.
        TransientError: the server is away.
    """
    source = read_source(root)
    if isinstance(source, MeadowSource):
        from bucolic.meadow import archive

        source = archive.draw(source, runtime.cache / "meadow", runtime.workers)
    if isinstance(source, FolderSource):
        files = _files_in_folder(Path(source.folder))
    else:
        files = _files_in_archive(_fetch_archive(source, runtime))
    counts: dict[str, int] = {}
    with replacing(out) as folder:
        folder.mkdir()
        documents = _copied(files, folder, counts)
        captioned_images(document for document in documents if document.kind == "captions")
    return Summary(
        Rows(len(counts), len(counts)), figures={"records": dict(sorted(counts.items()))}
    )


def _fetch_archive(source: CocoSource, runtime: Runtime) -> Path:
    remote = source.annotations
    return fetch_file(open_session(), remote, runtime.cache / "archives" / remote.sha256[:16])


def _files_in_folder(root: Path) -> Iterator[_File]:
    folder = root / "annotations"
    if not folder.is_dir():
        raise DataError(f"{folder} is missing: a data set in COCO layout holds annotations/")
    require_digested(root, folder)
    for kind, split in product(KINDS, SOURCE_SPLITS):
        path = annotation_file(folder, kind, split)
        if path.exists():
            yield _File(kind, split, path.read_bytes(), str(path))


def _files_in_archive(path: Path) -> Iterator[_File]:
    try:
        with zipfile.ZipFile(path) as bundle:
            members = {canonical(name): name for name in bundle.namelist()}
            for kind, split in product(KINDS, SOURCE_SPLITS):
                name = f"annotations/{annotation_file(Path(), kind, split)}"
                if name in members:
                    yield _File(kind, split, bundle.read(members[name]), f"{path}: {name}")
    except (zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{path} is no zip archive ({error}): delete it and run again") from None
    except (RuntimeError, NotImplementedError) as error:  # a password, or another compression
        raise DataError(f"{path} cannot be unpacked ({error}): pack it anew") from None


def _copied(files: Iterable[_File], folder: Path, counts: dict[str, int]) -> Iterator[Document]:
    """Write each file as it is, once it is known to be whole, and count its records."""
    for file in files:
        content = parse_json(file.content, file.told)
        if not isinstance(content, dict):
            raise DataError(f"{file.told} is no COCO annotation file: it holds no object")
        path = annotation_file(folder, file.kind, file.split)
        path.write_bytes(file.content)
        records = content.get("annotations")
        counts[path.name] = len(records) if isinstance(records, list) else 0
        yield Document(file.kind, file.split, content, file.told)

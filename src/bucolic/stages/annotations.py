"""annotations: get the annotation files of the data set, verified, into data/annotations/."""

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import Protocol
from zipfile import ZipFile, ZipInfo

from bucolic.base.errors import DataError, as_transient
from bucolic.base.files import replacing
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.space import require_space
from bucolic.data.attributes import attributes_of
from bucolic.data.captions import captioned_images
from bucolic.data.coco import KINDS, SOURCE_SPLITS, Kind, SourceSplit, annotation_file
from bucolic.data.instances import check_instances
from bucolic.data.names import canonical
from bucolic.data.records import Document, open_document
from bucolic.fetching.archives import archive_folder, open_zip, unpack_member
from bucolic.fetching.fetch import RemoteFile, fetch_file, find_file
from bucolic.fetching.http import NotThereError, open_session
from bucolic.fetching.members import fetch_members
from bucolic.fetching.source import (
    FolderSource,
    MeadowSource,
    annotations_folder,
    check_source,
    read_source,
)

RECORDS: dict[Kind, str] = {  # the list of each kind's records, which are counted
    "captions": "annotations",
    "instances": "annotations",
    "attributes": "captions",
}
MEMBER_LIMIT_BYTES = 2 << 30  # of one annotation file; COCO's largest is 0.45 GB


class Theme(Protocol):
    """What of a theme decides which files are wanted."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Names of COCO's; without them nobody reads instances, most of COCO's bytes."""


@dataclass(frozen=True)
class _File:
    """One annotation file of the user's.

    Attributes:
        kind: what it holds.
        split: of which images.
        told: what messages call it.
        copy: writes its bytes to a path.
    """

    kind: Kind
    split: SourceSplit
    told: str
    copy: Callable[[Path], None]


def get_annotations(
    root: Path,
    out: Path,
    *,
    filter: Theme,  # noqa: A002 - as the section of params.yaml is called
    runtime: Runtime,
) -> Summary:
    """Fetch or copy the captions and attributes there are, and the instances that a theme needs.

    Each must be JSON, and hold records that the stages below can read: here the file that has to
    be mended is known by its own name.

    Args:
        root: folder of the data set, see fetching/source.py.
        out: folder to write.
        filter: the theme.
        runtime: archives are kept in its cache.

    Raises:
        DataError: nothing to read, a wrong checksum, a broken archive, broken JSON, or a record
            that cannot be used.
        TransientError: the server is away.
    """
    check_source(root)
    source = read_source(root)
    if isinstance(source, MeadowSource):
        from bucolic.meadow import archive

        source = archive.draw(source, runtime.cache / "meadow", runtime.workers)
    wanted = _wanted(filter)
    if isinstance(source, FolderSource):
        files = _files_in_folder(Path(source.folder), wanted)
    else:
        files = _files_of_server(source.annotations, wanted, runtime.cache, out)
    counts: dict[str, int] = {}
    with replacing(out) as folder:
        folder.mkdir()
        documents = _copied(files, folder, counts)
        captioned_images(document for document in documents if document.kind == "captions")
    return Summary(
        Rows(len(counts), len(counts)), figures={"records": dict(sorted(counts.items()))}
    )


def _wanted(theme: Theme) -> list[tuple[Kind, SourceSplit]]:
    """Kinds and splits of the files that are read where they are there."""
    kinds = [kind for kind in KINDS if kind != "instances" or theme.categories]
    return list(product(kinds, SOURCE_SPLITS))


def _files_of_server(
    remote: RemoteFile, wanted: Collection[tuple[Kind, SourceSplit]], cache: Path, out: Path
) -> Iterator[_File]:
    """Out of the archive where it is on this disk, else by themselves where the server has ranges.

    Without them, all of the archive is fetched.
    """
    folder = archive_folder(cache, remote)
    path = find_file(remote, folder)
    if path is None:
        names = {_member_name(kind, split): (kind, split) for kind, split in wanted}
        alone = fetch_members(remote, folder, names, MEMBER_LIMIT_BYTES)
        if alone is not None:
            for name, member in alone.items():
                yield _File(*names[name], f"{remote.name}: {name}", partial(_copy, member))
            return
        path = fetch_file(open_session(), remote, folder)
    yield from _files_in_archive(path, wanted, out)


def _files_in_folder(root: Path, wanted: Iterable[tuple[Kind, SourceSplit]]) -> Iterator[_File]:
    folder = annotations_folder(root)
    for kind, split in wanted:
        path = annotation_file(folder, kind, split)
        if path.exists():
            yield _File(kind, split, str(path), partial(_copy, path))


def _copy(path: Path, copy: Path) -> None:
    try:
        shutil.copyfile(path, copy)
    except OSError as error:
        raise as_transient(error, str(path)) or DataError(
            f"{path}: {error.strerror}: mend it, or dataset.root in params.yaml"
        ) from None


def _files_in_archive(
    path: Path, wanted: Iterable[tuple[Kind, SourceSplit]], out: Path
) -> Iterator[_File]:
    names = {_member_name(kind, split): (kind, split) for kind, split in wanted}
    with open_zip(path) as bundle:
        members = {canonical(member.filename): member for member in bundle.infolist()}
        there = {name: members[name] for name in names if name in members}
        needed_bytes = sum(member.file_size for member in there.values())
        require_space(out, needed_bytes, f"{path.name}, unpacked,")
        for name, member in there.items():
            yield _File(*names[name], f"{path}: {name}", partial(_unpack, bundle, member))


def _member_name(kind: Kind, split: SourceSplit) -> str:
    """Of a file in an archive."""
    return f"annotations/{annotation_file(Path(), kind, split)}"


def _unpack(bundle: ZipFile, member: ZipInfo, copy: Path) -> None:
    try:
        unpack_member(bundle, member, copy, MEMBER_LIMIT_BYTES)
    except NotThereError as error:
        raise DataError(f"{error}: mend the archive that source.json names") from None


def _copied(files: Iterable[_File], folder: Path, counts: dict[str, int]) -> Iterator[Document]:
    """Copy each file as it is, see that its records are whole, and count them."""
    for file in files:
        path = annotation_file(folder, file.kind, file.split)
        file.copy(path)
        document = open_document(path, file.kind, file.split, told=file.told, is_new=True)
        if not isinstance(document.file.head, dict):
            raise DataError(f"{file.told} is no COCO annotation file: it holds no object")
        if file.kind == "instances":
            check_instances(document)
        elif file.kind == "attributes":
            attributes_of(document)
        records = RECORDS[file.kind]
        has_records = records in document.file.lists
        counts[path.name] = document.file.count(records) if has_records else 0
        yield document

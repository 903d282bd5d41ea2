"""annotations: get the annotation files of the data set, verified, into data/annotations/."""

import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bucolic.data.coco import SOURCE_SPLITS, annotation_file, read_json
from bucolic.data.fetch import fetch_file, open_session
from bucolic.data.source import CocoSource, FolderSource, MeadowSource, read_source
from bucolic.errors import DataError
from bucolic.files import replacing
from bucolic.report import Rows, Summary
from bucolic.runtime import Runtime

KINDS = ("captions", "instances", "attributes")


def get_annotations(root: Path, out: Path, *, runtime: Runtime) -> Summary:
    """Fetch or copy the captions, instances and attributes there are; each must be valid JSON.

    Args:
        root: folder of the data set, see data/source.py.
        out: folder to write.
        runtime: archives are kept in its cache.

    Raises:
        DataError: nothing to read, a wrong checksum, a broken archive or broken JSON.
        TransientError: the server is away.
    """
    source = read_source(root)
    with replacing(out) as folder:
        folder.mkdir()
        if isinstance(source, FolderSource):
            _copy(Path(source.folder) / "annotations", folder)
        else:
            if isinstance(source, MeadowSource):
                from bucolic.meadow import archive

                source = archive.draw(source, runtime.cache / "meadow", runtime.workers)
            _unpack(_fetch_archive(source, runtime), folder)
        counts = _count_records(folder)
    return Summary(Rows(len(counts), len(counts)), figures={"records": counts})


def _fetch_archive(source: CocoSource, runtime: Runtime) -> Path:
    remote = source.annotations
    return fetch_file(open_session(), remote, runtime.cache / "archives" / remote.sha256[:16])


def _wanted_names() -> list[str]:
    return [annotation_file(Path(), kind, split).name for kind in KINDS for split in SOURCE_SPLITS]


def _unpack(path: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(path) as bundle:
            names = set(bundle.namelist())
            for name in _wanted_names():
                if (member := f"annotations/{name}") in names:
                    with bundle.open(member) as source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path} is no zip archive ({error}): delete it and run again") from None


def _copy(source: Path, folder: Path) -> None:
    if not source.is_dir():
        raise DataError(f"{source} is missing: a data set in COCO layout holds annotations/")
    for name in _wanted_names():
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def _count_records(folder: Path) -> dict[str, int]:
    """Read every file once, so that a truncated one stops here and not three stages later."""
    paths = sorted(folder.iterdir())
    if not any(path.name.startswith("captions_") for path in paths):
        raise DataError(f"no {' or '.join(_captions_names())} in the data set: check dataset.root")
    return {path.name: _count(path) for path in paths}


def _count(path: Path) -> int:
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} is no COCO annotation file: it holds no object")
    return len(content.get("annotations", []))


def _captions_names() -> Iterable[str]:
    return (annotation_file(Path(), "captions", split).name for split in SOURCE_SPLITS)

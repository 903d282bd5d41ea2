"""DVC's own digests of files and folders, and its own rule of what in a folder counts.

A file's digest is the md5 of its bytes. A folder's is the md5 of the JSON list of its files, each
{"md5", "relpath"}, ordered by path, with ".dir" behind it. What .dvcignore names is no part of it;
DVC's own reader of these files decides, since two answers would be two fingerprints.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bucolic.base.files import file_digest
from bucolic.pipeline.graph import find_stage

PINS = "constraints"
CODE = ("src/", PINS)  # what dependencies on code and on libraries begin with
Digests = Mapping[str, str | None]


def code_digests(stage: str, root: Path) -> dict[str, str | None]:
    """Digests of the code that a stage depends on, and of the libraries that it is pinned to."""
    deps = find_stage(root, stage).deps
    return {dep: digest(root / dep, root) for dep in deps if is_code(dep)}


def is_code(dep: str) -> bool:
    """Whether a dependency in dvc.yaml is code, and not data."""
    return dep.startswith(CODE)


def digest(path: Path, root: Path | None = None) -> str | None:
    """DVC's digest of a file or folder, None where there is nothing.

    Args:
        path: the file or folder.
        root: the checkout whose .dvcignore files hold; by default all in a folder counts.
    """
    if path.is_dir():
        return _folder_digest(path, root)
    return file_digest(path, "md5") if path.exists() else None


def _folder_digest(folder: Path, root: Path | None) -> str:
    found = folder.rglob("*") if root is None else _not_ignored(folder, root)
    entries = [
        {"md5": file_digest(path, "md5"), "relpath": path.relative_to(folder).as_posix()}
        for path in sorted(found)
        if path.is_file()
    ]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _not_ignored(folder: Path, root: Path) -> Iterable[Path]:
    from dvc.fs import localfs  # noqa: PLC0415 - half a second that not every caller needs

    return map(Path, _ignoring(root.resolve()).find(localfs, str(folder)))


@cache
def _ignoring(root: Path) -> Any:
    """DVC's filter of a checkout, which reads its .dvcignore files once."""
    from dvc.fs import localfs  # noqa: PLC0415 - see above
    from dvc.ignore import DvcIgnoreFilter  # noqa: PLC0415

    return DvcIgnoreFilter(localfs, str(root))

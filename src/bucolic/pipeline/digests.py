"""DVC's own digests of files and folders, without importing DVC.

A file's digest is the md5 of its bytes. A folder's is the md5 of the JSON list of its files, each
{"md5", "relpath"}, ordered by path, with ".dir" behind it. `dvc add` gives the same (tested).
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from bucolic.files import file_digest
from bucolic.pipeline.graph import find_stage

Digests = Mapping[str, str | None]


def code_digests(stage: str, root: Path) -> dict[str, str | None]:
    """Digests of the code that a stage depends on."""
    return {dep: digest(root / dep) for dep in find_stage(root, stage).deps if is_code(dep)}


def is_code(dep: str) -> bool:
    """Whether a dependency in dvc.yaml is code, and not data."""
    return dep.startswith("src/")


def digest(path: Path) -> str | None:
    """DVC's digest of a file or folder, None where there is nothing."""
    if path.is_dir():
        return _folder_digest(path)
    return file_digest(path, "md5") if path.exists() else None


def _folder_digest(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    entries = [
        {"md5": file_digest(path, "md5"), "relpath": path.relative_to(folder).as_posix()}
        for path in files
    ]
    entries.sort(key=lambda entry: tuple(entry["relpath"].split("/")))
    return hashlib.md5(json.dumps(entries).encode(), usedforsecurity=False).hexdigest() + ".dir"

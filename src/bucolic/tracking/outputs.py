"""A stage's outputs found again by their digests, in its workspace or in DVC's cache.

A record may be sent long after its stage ran: the workspace may hold another run's files by then,
or be gone. A file is taken only if its digest is the recorded one.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from bucolic.pipeline.digests import digest as digest_of
from bucolic.pipeline.environment import child_environment

FOLDER = ".dir"


def find_output(root: Path, home: Path, path: str, digest: str, scratch: Path) -> Path | None:
    """Return where the output `path` lies with exactly `digest`; None where it is gone.

    Args:
        root: the workspace the stage ran in.
        home: the main checkout.
        path: the output, relative to `root`.
        digest: DVC's md5, as recorded.
        scratch: an empty folder; what only the cache has is put together there.
    """
    if digest_of(root / path) == digest:
        return root / path
    found = (_restored(folder, digest, scratch / path) for folder in _caches(root, home))
    return next(filter(None, found), None)


def _caches(root: Path, home: Path) -> Iterator[Path]:
    """DVC's caches: the usual one, then those that a setting of either checkout names."""
    yield home / ".dvc" / "cache"
    for checkout in (root, home):
        if named := _named_cache(checkout):
            yield named


@cache
def _named_cache(checkout: Path) -> Path | None:
    """What DVC says, which takes it a second."""
    if not checkout.is_dir():
        return None
    done = subprocess.run(
        ["dvc", "cache", "dir"],
        cwd=checkout,
        env=child_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    named = os.fsdecode(done.stdout.removesuffix(b"\n"))
    return checkout / named if done.returncode == 0 and named else None


def _restored(folder: Path, digest: str, target: Path) -> Path | None:
    """Put an output together at `target`; None where the cache lacks a part of it."""
    source = _cached(folder, digest)
    if not source.is_file():
        return None
    target.parent.mkdir(parents=True, exist_ok=True)
    if not digest.endswith(FOLDER):
        return Path(shutil.copyfile(source, target))
    for entry in json.loads(source.read_text()):
        file, place = _cached(folder, entry["md5"]), target / entry["relpath"]
        if not file.is_file():
            return None
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return target


def _cached(folder: Path, md5: str) -> Path:
    return folder / "files" / "md5" / md5[:2] / md5[2:]

"""A stage's outputs found again by their digests, in its workspace or in DVC's cache.

A record may be sent long after its stage ran: the workspace may hold another run's files by then,
or be gone. A file is taken only if its digest is the recorded one.
"""

import json
import shutil
from pathlib import Path

from bucolic.pipeline.digests import digest as digest_of

FOLDER = ".dir"


def find_output(root: Path, home: Path, path: str, digest: str, scratch: Path) -> Path | None:
    """Return where the output `path` lies with exactly `digest`; None where it is gone.

    Args:
        root: the workspace the stage ran in.
        home: the main checkout, with DVC's cache.
        path: the output, relative to `root`.
        digest: DVC's md5, as recorded.
        scratch: an empty folder; what only the cache has is put together there.
    """
    if digest_of(root / path) == digest:
        return root / path
    cache = home / ".dvc" / "cache" / "files" / "md5"
    source = cache / digest[:2] / digest[2:]
    if not source.is_file():
        return None
    target = scratch / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if not digest.endswith(FOLDER):
        return Path(shutil.copyfile(source, target))
    for entry in json.loads(source.read_text()):
        md5 = entry["md5"]
        file = cache / md5[:2] / md5[2:]
        if not file.is_file():
            return None
        place = target / entry["relpath"]
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
    return target

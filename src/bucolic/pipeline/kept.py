"""What a stage keeps in HOME beside its outs, by the fingerprint of all that decides its result.

- `.work/stages/STAGE/FINGERPRINT`: partial work of a run that has not come to its end.
- `.work/finished/STAGE/FINGERPRINT`: a finished result, `kept.json` and `outs/`, until dvc.lock
  has it. DVC deletes outs before a stage runs, and writes its lock after: a kill, a full disk or an
  error between the two would otherwise cost the whole stage.

Outs are kept as hard links, which cost no space and no time; their digests are compared before
they are used. Whatever nobody has touched for two weeks goes, and `bucolic clean` frees all.
"""

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bucolic.base.errors import TransientError
from bucolic.base.files import clone, last_touched_s, remove, replacing, write_json
from bucolic.base.lock import holding
from bucolic.pipeline.digests import digest
from bucolic.pipeline.record import foreign

logger = logging.getLogger(__name__)
KEPT_S = 14 * 24 * 3600.0
KEPT = "kept.json"  # root, record_md5 and record
Record = Mapping[str, Any]


def partial_work(home: Path, stage: str, fingerprint: str) -> Path:
    """Folder of a stage's partial work."""
    return home / ".work" / "stages" / stage / fingerprint


def lock_of(home: Path, stage: str, fingerprint: str) -> Path:
    """The lock under which one result is made."""
    return home / ".work" / "locks" / f"{stage}-{fingerprint}.lock"


def keep_finished(home: Path, fingerprint: str, root: Path, record: Record) -> None:
    """Keep the outs in `root` that `record` lists, with the record itself."""
    about = {"root": str(root), "record_md5": digest(root / _place(record)), "record": record}
    try:
        with replacing(_finished(home, record["stage"], fingerprint)) as folder:
            for out in record["outputs"]:
                clone(root / out, folder / "outs" / out)
            write_json(folder / KEPT, about)
    except OSError as error:
        # The result itself is there: DVC may well have it written down before anything ends it.
        logger.warning("%s: its result is not kept in %s (%s)", record["stage"], home, error)


def find_finished(home: Path, stage: str, fingerprint: str) -> Record | None:
    """The record of a kept result; None without one, or where an out was edited in place."""
    folder = _finished(home, stage, fingerprint)
    if (about := _read(folder)) is None:
        return None
    record: Record = about["record"]
    if any(digest(folder / "outs" / out) != md5 for out, md5 in record["outputs"].items()):
        logger.warning("%s: the result kept in %s was changed and is of no use", stage, folder)
        return None
    return record


def bring_back(home: Path, fingerprint: str, root: Path, record: Record) -> None:
    """Put the outs of a kept result into place.

    Raises:
        OSError: they cannot be, as on a full disk.
    """
    folder = _finished(home, record["stage"], fingerprint)
    for out in record["outputs"]:
        with replacing(root / out) as temporary:
            clone(folder / "outs" / out, temporary)


def forget_committed(home: Path) -> None:
    """Remove the finished results that the dvc.lock of their workspace lists.

    They are known by their record, which is no other execution's: the same outs may well be there
    as those of a former one.
    """
    for folder in (home / ".work" / "finished").glob("*/*"):
        about = _read(folder)
        if about and _is_committed(about):
            _forget(folder)


def _is_committed(about: Mapping[str, Any]) -> bool:
    record = about["record"]
    try:
        lock = YAML(typ="safe").load((Path(about["root"]) / "dvc.lock").read_text())
        outs = {out["path"]: out["md5"] for out in lock["stages"][record["stage"]]["outs"]}
    except (OSError, LookupError, TypeError, YAMLError):
        return False  # none is there, or another process writes it now
    return bool(outs.get(_place(record)) == about["record_md5"])


def _place(record: Record) -> str:
    """Where a workspace has the record of a stage."""
    return f"reports/records/{record['stage']}.json"


def _read(folder: Path) -> dict[str, Any] | None:
    try:
        about: dict[str, Any] = json.loads((folder / KEPT).read_text())
        return None if foreign(about["record"]) else about
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def forget_old(home: Path, kept_s: float = KEPT_S) -> int:
    """Remove what nobody has touched for `kept_s` seconds and nobody works on; returns its bytes.

    A file that stands elsewhere, too, as in DVC's cache, counts though its space is not freed.
    """
    folders = [*(home / ".work/stages").glob("*/*"), *(home / ".work/finished").glob("*/*")]
    old = [folder for folder in folders if time.time() - last_touched_s(folder) >= kept_s]
    return sum(_forget(folder) for folder in old)


def _forget(folder: Path) -> int:
    """Remove kept work unless a process works on it; returns its bytes.

    Checkouts share it, and each clears up: whatever another is at is left to that one.
    """
    stage, fingerprint = folder.parent.name, folder.name
    try:
        with holding(lock_of(folder.parents[3], stage, fingerprint)):
            freed_bytes = sum(path.lstat().st_size for path in folder.rglob("*"))
            remove(folder)
    except TransientError:
        return 0
    except OSError as error:
        logger.warning("%s could not be removed (%s)", folder, error)
        return 0
    return freed_bytes


def _finished(home: Path, stage: str, fingerprint: str) -> Path:
    return home / ".work" / "finished" / stage / fingerprint

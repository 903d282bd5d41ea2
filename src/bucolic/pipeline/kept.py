"""What a stage keeps in HOME beside its outs, by the fingerprint of all that decides its result.

- `.work/stages/STAGE/FINGERPRINT`: partial work of a run that has not come to its end.
- `.work/finished/STAGE/FINGERPRINT`: a finished result, `record.json` and `outs/`, until dvc.lock
  has it. DVC deletes outs before a stage runs, and writes its lock after: a kill, a full disk or an
  error between the two would otherwise cost the whole stage.

Outs are kept as hard links, which cost no space and no time; their digests are compared before
they are used. Whatever nobody has touched for two weeks goes, and `bucolic clean` frees all.
"""

import json
import logging
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bucolic.errors import TransientError
from bucolic.files import clone, last_touched_s, remove, replacing, write_json
from bucolic.lock import holding
from bucolic.pipeline.digests import digest

logger = logging.getLogger(__name__)
KEPT_S = 14 * 24 * 3600.0
RECORD = "record.json"
Record = Mapping[str, Any]


def partial_work(home: Path, stage: str, fingerprint: str) -> Path:
    """Folder of a stage's partial work."""
    return home / ".work" / "stages" / stage / fingerprint


def lock_of(home: Path, stage: str, fingerprint: str) -> Path:
    """The lock under which one result is made."""
    return home / ".work" / "locks" / f"{stage}-{fingerprint}.lock"


def keep_finished(home: Path, fingerprint: str, root: Path, record: Record) -> None:
    """Keep the outs in `root` that `record` lists, with the record itself."""
    try:
        with replacing(_finished(home, record["stage"], fingerprint)) as folder:
            for out in record["outputs"]:
                clone(root / out, folder / "outs" / out)
            write_json(folder / RECORD, {**record, "root": str(root)})
    except OSError as error:
        # The result itself is there: DVC may well have it written down before anything ends it.
        logger.warning("%s: its result is not kept in %s (%s)", record["stage"], home, error)


def bring_back(home: Path, stage: str, fingerprint: str, root: Path) -> dict[str, Any] | None:
    """Put a kept result's outs into place and return its record; None where there is none.

    A result that is not what its record says, because somebody edited an out in place, is dropped.
    """
    folder = _finished(home, stage, fingerprint)
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        for out in record["outputs"]:
            with replacing(root / out) as temporary:
                clone(folder / "outs" / out, temporary)
    except (OSError, ValueError, KeyError):
        return None
    if any(digest(root / out) != md5 for out, md5 in record["outputs"].items()):
        logger.warning("%s: the result kept in %s was changed and is dropped", stage, folder)
        remove(folder)
        return None
    del record["root"]
    return record


def forget_committed(home: Path) -> None:
    """Remove the finished results that the dvc.lock of their workspace lists."""
    for folder in (home / ".work" / "finished").glob("*/*"):
        try:
            record = json.loads((folder / RECORD).read_text())
            committed = _is_committed(record)
        except (OSError, ValueError, KeyError, YAMLError):
            continue
        if committed:
            remove(folder)


def _is_committed(record: Record) -> bool:
    lock = YAML(typ="safe").load((Path(record["root"]) / "dvc.lock").read_text())
    outs = {out["path"]: out["md5"] for out in lock["stages"][record["stage"]]["outs"]}
    return bool(outs.items() >= record["outputs"].items())


def forget_old(home: Path, kept_s: float = KEPT_S) -> int:
    """Remove what nobody has touched for `kept_s` seconds and nobody works on; returns its bytes.

    A file that stands elsewhere, too, as in DVC's cache, counts though its space is not freed.
    """
    freed_bytes = 0
    for folder in [*(home / ".work/stages").glob("*/*"), *(home / ".work/finished").glob("*/*")]:
        if time.time() - last_touched_s(folder) >= kept_s:
            with suppress(TransientError), holding(lock_of(home, folder.parent.name, folder.name)):
                freed_bytes += sum(path.lstat().st_size for path in folder.rglob("*"))
                remove(folder)
    return freed_bytes


def _finished(home: Path, stage: str, fingerprint: str) -> Path:
    return home / ".work" / "finished" / stage / fingerprint

"""The outbox: copies of records on their way to MLflow, .work/outbox/RECORD_ID.json.

It is HOME's, or ROOT's where HOME cannot be written. Nothing here breaks a run: a record that can
wait in neither is still in the workspace, where `bucolic track` looks for it.
"""

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bucolic.base.files import write_text

OUTBOX = Path(".work/outbox")
TRACKED = Path(".work/tracked")  # RECORD_ID.json, the address of the run that holds the record
RECORDS = Path("reports/records")
FAILURES = Path(".work/failures")
LOG = logging.getLogger(__name__)


def post(home: Path, root: Path, record: Mapping[str, Any]) -> Path | None:
    """Leave a copy of a record for MLflow; return its path, or None after a warning.

    Args:
        home: the holder of the outbox.
        root: the workspace that the record was made in; it is noted in the copy.
        record: of a stage that ended, well or not.
    """
    # In ASCII: a folder whose name is no UTF-8 is written, too.
    text = json.dumps({**record, "root": str(root)}, sort_keys=True)
    problems = []
    for folder in dict.fromkeys((home, root)):
        path = folder / OUTBOX / f"{record['record_id']}.json"
        try:
            write_text(path, text)
        except OSError as error:
            problems.append(f"{folder / OUTBOX}: {error.strerror}")
        else:
            return path
    kept = (RECORDS if record["status"] == "ok" else FAILURES) / f"{record['stage']}.json"
    LOG.warning(
        "MLflow: no record can wait in %s; it stays in %s, `bucolic track` sends it",
        *(" or ".join(problems), kept),
    )
    return None


def posted(home: Path, root: Path) -> Iterator[Path]:
    """Files in the outboxes of HOME and of a workspace, in no order."""
    for folder in dict.fromkeys((home, root)):
        yield from (folder / OUTBOX).glob("*.json")


def unposted(home: Path, root: Path) -> Iterator[Path]:
    """Records in the workspace that are neither in an outbox nor known to have been sent."""
    known = {path.stem for path in (*posted(home, root), *(home / TRACKED).glob("*.json"))}
    return (path for path in in_workspace(root) if _record_id(path) not in known)


def in_workspace(root: Path) -> Iterator[Path]:
    """Records that stages left in the workspace, sent or not."""
    for folder in (root / RECORDS, root / FAILURES):
        yield from folder.glob("*.json")


def _record_id(path: Path) -> str:
    try:
        return str(json.loads(path.read_text())["record_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""

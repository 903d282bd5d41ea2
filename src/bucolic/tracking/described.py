"""A stage's record put into MLflow's words: name, tags, params, metrics, data sets.

Pure functions over the record (its schema: pipeline/record.py); nothing here imports MLflow.
"""

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any

from bucolic.base.files import fingerprint
from bucolic.models.config import DEFAULT_KIND
from bucolic.pipeline.services import PREFECT_PAGE

Record = Mapping[str, Any]
FIRST_WORDS = 3
# MLflow's limits: characters, all but the first, which is taken in bytes as folders of files are.
MAX_NAME_BYTES = 250
MAX_DIGEST = 36  # an md5 with ".dir" behind it fits exactly
MAX_DATASET = 500
MAX_THEME = 200  # ours, for the name of a run
MAX_PARAM = 6000
MAX_TAG = 8000
UNFIT = re.compile(r"[^\w\-./ :]")  # what MLflow refuses in the name of a metric, param or tag


def theme(record: Record) -> str:
    """The first keywords, as a person would call the run."""
    words = list(record.get("keywords") or ())
    text = " ".join(words[:FIRST_WORDS]) + (" …" if len(words) > FIRST_WORDS else "")
    return fit_text(text, MAX_THEME)


def keywords(record: Record) -> str:
    """All keywords in one line, cut to what a tag holds."""
    return fit_text(", ".join(record.get("keywords") or ()), MAX_TAG)


def kind(record: Record) -> str:
    """The kind of model that a training's params name."""
    model: dict[str, Any] = (record.get("params") or {}).get("model") or {}
    return str(model.get("kind", DEFAULT_KIND))


def run_name(record: Record) -> str:
    """`STAGE: first keywords`."""
    return f"{record['stage']}: {theme(record)}"


def parent_name(record: Record) -> str:
    """The first keywords and the commit."""
    return f"{theme(record)} @ {(_git(record)['commit'] or 'no commit')[:9]}"


def started_ms(record: Record) -> int:
    """Start of the stage, milliseconds since 1970."""
    return int(datetime.fromisoformat(record["started"]).timestamp() * 1000)


def ended_ms(record: Record) -> int:
    """End of the stage, milliseconds since 1970."""
    return started_ms(record) + int(float(record.get("duration_s") or 0) * 1000)


def tags(record: Record) -> dict[str, str]:
    """What a run is found by: identity, code, data, place."""
    git, environment = _git(record), record.get("environment") or {}
    error = record.get("error") or {}
    flow_run = environment.get("PREFECT__FLOW_RUN_ID") or environment.get("PREFECT_FLOW_RUN_ID")
    found = {
        **identity(record),
        "keywords": keywords(record),
        "mlflow.source.name": f"bucolic {record['stage']}",
        "mlflow.source.git.commit": git["commit"],
        "git.dirty": None if git["dirty"] is None else str(git["dirty"]).lower(),
        "device": record.get("device"),
        "precision": record.get("precision"),
        "dvc.stage": record["stage"],
        "dvc.exp_name": environment.get("DVC_EXP_NAME"),
        "prefect.flow_run_id": flow_run,
        "prefect.flow_run": f"{PREFECT_PAGE}/runs/flow-run/{flow_run}" if flow_run else None,
        "error.kind": error.get("kind"),
        "error.message": error.get("message"),
        **{f"input.{path}": digest for path, digest in _paths(record, "inputs").items()},
        **{f"output.{path}": digest for path, digest in _paths(record, "outputs").items()},
    }
    known = {key: str(value) for key, value in found.items() if value is not None}
    return {fit_name(key): fit_text(value, MAX_TAG) for key, value in known.items()}


def identity(record: Record) -> dict[str, str]:
    """The tags by which a run is found again."""
    return {
        "record_id": record["record_id"],
        "stage": record["stage"],
        "pipeline_id": record["pipeline_id"],
    }


def params(record: Record) -> dict[str, str]:
    """Params of the stage, `section.key`; lists as JSON."""
    content = record.get("params") or {}
    leaves = _leaves(content, ".")
    return {fit_name(key): fit_text(_text(value), MAX_PARAM) for key, value in leaves}


def metrics(record: Record) -> dict[str, float]:
    """Every number of the record, its figures and details, `group/name`."""
    content = {
        "duration_s": record.get("duration_s"),
        "rows": record.get("rows") or {},
        "new": record.get("new"),
        "reused": record.get("reused"),
        **(record.get("figures") or {}),
        **(record.get("details") or {}),
    }
    leaves = _leaves(content, "/")
    return {fit_name(key): float(value) for key, value in leaves if is_number(value)}


def datasets(record: Record) -> dict[str, str]:
    """Inputs that are data, with DVC's digests."""
    inputs = _paths(record, "inputs")
    return {
        fit_text(path, MAX_DATASET): str(digest)[:MAX_DIGEST]
        for path, digest in inputs.items()
        if digest
    }


def params_digest(record: Record) -> str:
    """One digest of all params of the stage."""
    return fingerprint(record.get("params") or {})


def is_number(value: Any) -> bool:
    """Whether a value of a figure is a measured number, of a size that MLflow can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return isinstance(value, float) or abs(value) < 2**1023


def fit_name(name: str) -> str:
    """The name as MLflow takes it; one that had to be changed ends in a digest of what it was.

    MLflow takes letters of any script, digits and `_-./ :`, and no path that could be written
    shorter, such as one with a slash at its end. Two different names never become one.
    """
    fit = posixpath.normpath(UNFIT.sub("_", name)).lstrip("/.") or "_"
    if fit == name and len(name.encode()) <= MAX_NAME_BYTES:
        return name
    mark = "-" + sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
    return _cut(fit, MAX_NAME_BYTES - len(mark)) + mark


def fit_text(text: str, limit: int) -> str:
    """The text without what a database refuses (NUL, half a surrogate pair), cut to `limit`."""
    return text.encode(errors="replace").decode().replace("\0", "?")[:limit]


def _cut(name: str, limit_bytes: int) -> str:
    return name.encode()[:limit_bytes].decode(errors="ignore")


def _paths(record: Record, kind: str) -> dict[str, Any]:
    """Digests of `inputs` or `outputs` by path; `my-coco/` and `./my-coco` are one name."""
    return {posixpath.normpath(path): digest for path, digest in (record.get(kind) or {}).items()}


def _leaves(content: Any, joint: str, key: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(content, Mapping):
        yield key, content
        return
    for name, value in content.items():
        yield from _leaves(value, joint, f"{key}{joint}{name}" if key else str(name))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _git(record: Record) -> Mapping[str, Any]:
    return record.get("git") or {"commit": None, "dirty": None}

"""Records as pipeline/execute.py leaves them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bucolic.pipeline.record import SCHEMA


def record_of(stage: str) -> dict[str, Any]:
    """A record with made-up, fixed content."""
    return {
        "schema": SCHEMA,
        "record_id": hashlib.md5(stage.encode(), usedforsecurity=False).hexdigest(),
        "stage": stage,
        "status": "ok",
        "error": None,
        "started": "2026-01-02T03:04:05+00:00",
        "duration_s": 1.5,
        "rows": {"in": 10, "out": 9, "failed": 1},
        "new": 4,
        "reused": 5,
        "device": "cpu",
        "precision": "fp32",
        "versions": {"numpy": "2.0"},
        "params": {"filter": {"keywords": ["cow", "no"], "match": "word"}},
        "inputs": {"data/shards": "0123456789abcdef0123456789abcdef.dir"},
        "outputs": {},
        "git": {"commit": "f" * 40, "dirty": True},
        "pipeline_id": "a" * 16,
        "keywords": ["cow", "sheep", "hill", "farm"],
        "figures": {"counts": {"cow": 7}, "note": "text", "nothing": None},
        "environment": {"PREFECT__FLOW_RUN_ID": "abc"},
    }


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, folders included."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))

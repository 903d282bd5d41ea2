"""reports/verdicts.parquet, version 1: what each of the model's pictures was found to be.

One row a prompt and draw, ordered by slice, prompt and draw, so that two runs on the same test
split can be compared prompt by prompt. `bucolic.asked` in the schema's metadata is JSON: by verdict
who gave it, `seed` and `draws`, and `distractors`, a digest of those of all prompts.

| column | type | meaning |
|---|---|---|
| slice | string | ordinary, or heldout: a combination that training never showed |
| prompt | int32 | its number within the slice, from 0 |
| draw | int32 | which of its pictures, from 0 |
| image_id | int64 | the test image that the prompt is a caption of |
| caption_id | int64 | that caption |
| text | string | the prompt |
| stated | map of strings | what it states that can be judged, attribute to value |
| seen | map of strings | what the probe sees in the picture, attribute to value |
| all_right | bool, nullable | whether all that is stated is seen; null where nothing is stated |
| r_precision | bool, nullable | whether the judge finds the prompt; null where it is not asked |
| r_precision_own_clip | bool, nullable | likewise by the conditioning CLIP |
| clip_similarity | float64 | cosine of picture and prompt by the conditioning CLIP |
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from bucolic.data.tables import read_table, write_table

VERSION = "1"
ASKED = b"bucolic.asked"
FACTS = pa.map_(pa.string(), pa.string())
SCHEMA = pa.schema(
    [
        ("slice", pa.string()),
        ("prompt", pa.int32()),
        ("draw", pa.int32()),
        ("image_id", pa.int64()),
        ("caption_id", pa.int64()),
        ("text", pa.string()),
        ("stated", FACTS),
        ("seen", FACTS),
        ("all_right", pa.bool_()),
        ("r_precision", pa.bool_()),
        ("r_precision_own_clip", pa.bool_()),
        ("clip_similarity", pa.float64()),
    ],
    metadata={"bucolic.format": "verdicts", "bucolic.version": VERSION},
)


def write_verdicts(path: Path, rows: Iterable[Mapping[str, Any]], asked: Mapping[str, Any]) -> None:
    """Write rows that are ordered by slice, prompt and draw.

    Args:
        path: file to write.
        rows: see the module's docstring.
        asked: by verdict who gave it, and what the distractors hang on.
    """
    about = {**SCHEMA.metadata, ASKED: json.dumps(dict(asked), sort_keys=True)}
    schema = SCHEMA.with_metadata(about)
    write_table(path, pa.Table.from_pylist(list(rows), schema=schema))


def read_verdicts(path: Path) -> pa.Table:
    """Read the table; DataError where it is missing or of another format."""
    return read_table(path, "verdicts", VERSION)


def asked_of(table: pa.Table) -> dict[str, Any]:
    """By verdict who gave it, and what the distractors hang on."""
    found: dict[str, Any] = json.loads(table.schema.metadata.get(ASKED, b"{}"))
    return found

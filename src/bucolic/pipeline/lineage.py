"""Which records of a workspace belong together: what a stage read is what its upstream wrote.

A workspace keeps the record of a stage until the stage runs again. Where a run ended before it came
that far, the stages behind still have records of an earlier run.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]


def current(
    upstream: Mapping[str, Sequence[str]], records: Mapping[str, Record]
) -> tuple[str, ...]:
    """Return the stages whose records follow from the records upstream of them.

    A stage is current if it has a record, all stages upstream of it are current, and each of its
    `inputs` that one of them made has the digest among that one's `outputs`.

    Args:
        upstream: by stage, the stages it needs; each stage after all it needs, as
            `{stage.name: stage.upstream for stage in read_graph(root)}`.
        records: by stage, its record (pipeline/record.py); stages without one are left out.

    Returns:
        Names in the order of `upstream`; the others never ran or have a record of another run.
    """
    found: list[str] = []
    for stage, needed in upstream.items():
        if stage in records and set(needed) <= set(found):
            makers = [records[other] for other in needed]
            found += [stage] if _agrees(records[stage], makers) else []
    return tuple(found)


def _agrees(record: Record, makers: Iterable[Record]) -> bool:
    """Whether the record's inputs are what their makers recorded; sources have no maker."""
    made = {path: md5 for maker in makers for path, md5 in (maker.get("outputs") or {}).items()}
    inputs: Mapping[str, str | None] = record.get("inputs") or {}
    return all(made.get(path, md5) == md5 for path, md5 in inputs.items())

"""What each of the model's pictures was found to be: the rows of reports/verdicts.parquet."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from bucolic.data.shards import Split
from bucolic.evaluation.scores import Sitting, by_judge, by_own_clip, cosines, hits
from bucolic.seeing.metrics.attributes import agreement, all_right


def verdict_rows(test: Split, sittings: Mapping[str, Sitting | None]) -> Iterator[dict[str, Any]]:
    """One row a prompt and draw; see data/verdicts.py.

    Args:
        test: the split whose captions are the prompts.
        sittings: by slice, the model's pictures before the jury; None where it has no prompt.
    """
    for name, sitting in sittings.items():
        if sitting is not None:
            yield from _rows(name, test, sitting)


def _rows(of_slice: str, test: Split, sitting: Sitting) -> Iterator[dict[str, Any]]:
    exam, views = sitting.exam, sitting.views
    prompts, seen = exam.prompts, views.seen or {}
    verdicts = {
        "all_right": all_right(agreement(seen, prompts.stated)) if seen else None,
        "r_precision": hits(exam, *by_judge(sitting)),
        "r_precision_own_clip": hits(exam, *by_own_clip(sitting)),
    }
    similarity = cosines(views, exam)
    for at, caption in enumerate(prompts.caption_rows):
        prompt, draw = divmod(at, exam.draws)
        yield {
            "slice": of_slice,
            "prompt": prompt,
            "draw": draw,
            "image_id": int(test.image_ids[prompts.image_rows[at]]),
            "caption_id": int(test.caption_ids[caption]),
            "text": test.captions[caption],
            "stated": list(prompts.stated[at].items()),
            "seen": [(name, values[at]) for name, values in seen.items()],
            **{name: _verdict(values, at) for name, values in verdicts.items()},
            "clip_similarity": float(similarity[at]),
        }


def _verdict(values: np.ndarray | None, at: int) -> bool | None:
    return None if values is None or np.isnan(values[at]) else bool(values[at])

"""The content of reports/evaluate.json, and of reports/metrics.json, which DVC compares runs by.

`metrics`, `best_of`, `heldout_combinations` (with its own `bounds`) and `bounds` hold figures, null
where one does not apply, as do `memorisation` (whose `controls` and `decoded` say which copies were
caught), `diversity`, `condition_use`, `likelihood` and `denoising`. `reasons` says why, by dotted
name; `counts` says what stands behind them: prompts, judges, and, by dotted name, 95 % intervals
and the number of independent items (n).
"""

from collections.abc import Mapping
from typing import Any

from bucolic.evaluation import table
from bucolic.evaluation.figures import intervals, nested_values, reasons, sizes
from bucolic.evaluation.study import Findings
from bucolic.seeing.jury import Jury


def document(
    ordinary: Findings, held_out: Findings, jury: Jury, about: Mapping[str, Any]
) -> dict[str, Any]:
    """Put the outcomes of both slices together; `about` goes into the counts."""
    figures = ordinary.figures | held_out.figures
    counts = {
        **about,
        **_judges(jury),
        **ordinary.counts,
        "heldout_combinations": held_out.counts,
        "intervals": intervals(figures),
        "n": sizes(figures),
    }
    content = {**nested_values(figures), "counts": counts, "reasons": reasons(figures)}
    for kind, caught in ordinary.copies_caught.items():
        if caught:
            content["memorisation"][kind] = dict(caught)
    return content


def headline(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Of an evaluate.json, the few figures one looks at first: by metric, model and test image.

    What does not apply is left out.
    """
    arms = {table.MODEL: found["metrics"], "real": found["bounds"]["real"]}
    values = {
        name: {arm: figures[name] for arm, figures in arms.items() if figures[name] is not None}
        for name in (metric.name for metric in table.METRICS if metric.is_headline)
    }
    return {name: of_arms for name, of_arms in values.items() if of_arms}


def _judges(jury: Jury) -> dict[str, Any]:
    drawn = jury.probe is not None
    own = f"{jury.name}, the CLIP that the model is conditioned on"
    judge = own if jury.judge is None else f"{jury.judge_name}, which no model is trained with"
    probe = "the probe, trained on real renders"
    judges = {
        "r_precision": judge,
        "r_precision_own_clip": own,
        "clip_similarity": own,
        "kid": f"{jury.name}, embeddings at length sqrt(d)",
        **dict.fromkeys(("fid", "cmmd", "density", "coverage", "memorisation", "diversity"), judge),
        **({"attributes_all_right": probe, "attribute_accuracy": probe} if drawn else {}),
    }
    return {"judges": judges, "pictures": "drawings" if drawn else "photographs"}

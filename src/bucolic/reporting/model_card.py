"""reports/model_card.md: what a model is, made of, and worth, from the records of its stages."""

from collections.abc import Mapping
from typing import Any

from jinja2 import ChainableUndefined, Environment, PackageLoader

from bucolic.evaluation import table
from bucolic.models.config import DEFAULT_KIND
from bucolic.reporting.figure_tables import FigureTables

SHOWN = ("metrics", "best_of", "bounds.real")
SAID = {  # of losses beside the likelihood, by their weight in train
    "detail_weight": "the squared error of fine detail",
    "alignment_weight": "the angle between the prior's features and CLIP's",
}


def model_card(
    page: Mapping[str, Any],
    model: Mapping[str, Any],
    found: dict[str, Any] | None,
    shard: Mapping[str, Any] | None,
) -> str:
    """The card as Markdown.

    Args:
        page: what the report says: keywords, commit, dirty, dataset, mismatch, sampling.
        model: the content of its config.json.
        found: that of evaluate.json; None where it has not been judged.
        shard: figures of the shard stage; None where they are not there.
    """
    environment = Environment(
        loader=PackageLoader("bucolic.reporting"),
        autoescape=True,  # Markdown may hold HTML
        undefined=ChainableUndefined,  # a model of an earlier bucolic says less of itself
        trim_blocks=True,
        lstrip_blocks=True,
    )
    labels = {arm.place: arm.label for arm in table.ARMS}
    counts = found["counts"] if found else {}
    headline = [metric for metric in table.METRICS if metric.is_headline]
    return environment.get_template("model_card.md.j2").render(
        {
            **page,
            "model": model,
            "kind": model.get("kind", DEFAULT_KIND),
            "pictures": shard["train"]["images"] if shard else "an unknown number of",
            "arms": [labels[place] for place in SHOWN],
            "figures": FigureTables(found).rows(headline, SHOWN) if found else [],
            "counts": counts,
            "auxiliary": [SAID[name] for name in model.get("training", {}).get("auxiliary", {})],
            "pictured": counts.get("pictures"),
            "candidates": len((page["sampling"] or {}).get("candidates", [])),
        }
    )

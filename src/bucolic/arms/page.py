"""The study as Markdown: the gap in a line, a table of arms, a table of claims."""

from collections.abc import Iterator, Mapping
from typing import Any

FIGURES = {"all_right": "all right", "r_precision": "R-precision"}


def gap_line(found: Mapping[str, Any]) -> str:
    """How far apart the CLIP puts pictures and captions, and what each rung explains."""
    gap = found["gap"]
    explained = {"none": "raw", "shift": "means exchanged", "ridge": "ridge", "mlp": "MLP"}
    shares = ", ".join(f"{gap[f'r2_{name}']:.2f} {title}" for name, title in explained.items())
    return (
        f"Gap of this CLIP on test: centroids {gap['centroid_distance']:.2f} apart, which is "
        f"{gap['centroid_share']:.0%} of the squared distance of a pair; matched cosine "
        f"{gap['matched_cosine']:.2f}; R² of a picture's embedding from its caption's: {shares}."
    )


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """The two tables."""
    decided = found["decided_by"]
    yield ""
    titles = [FIGURES[decided], "species", "R-precision", "guidance", "seeds"]
    yield f"| trained on | asked with | {' | '.join(titles)} |"
    yield "|---|---|---|---|---|---|---|"
    for row in found["rows"]:
        yield _arm(row)
    yield ""
    yield "| claim | difference | by seed | holds |"
    yield "|---|---|---|---|"
    for difference in found["differences"]:
        yield _claim(difference)


def _arm(row: Mapping[str, Any]) -> str:
    others = row["others"]
    guidance = " ".join(f"{value:g}" for value in row["guidance"])
    cells = [
        row["trained_on"],
        row["asked_with"],
        _with_interval(row),
        f"{others['species']['value']:.2f}" if "species" in others else "",
        f"{others['r_precision']['value']:.2f}" if "r_precision" in others else "",
        guidance,
        str(row["seeds"]),
    ]
    return f"| {' | '.join(cells)} |"


def _claim(difference: Mapping[str, Any]) -> str:
    low, high = difference["interval"]
    by_seed = " ".join(f"{value:+.3f}" for value in difference["by_seed"])
    gap = f"{difference['value']:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"| {difference['claim']} | {gap} | {by_seed} | {_verdict(difference)} |"


def _verdict(difference: Mapping[str, Any]) -> str:
    if len(difference["by_seed"]) == 1:
        return "not shown: one seed"
    if difference["holds"]:
        return "yes"
    opposite = difference["interval"][1] < 0 and max(difference["by_seed"]) < 0
    return "no, the opposite does" if opposite else "not shown"


def _with_interval(figure: Mapping[str, Any]) -> str:
    low, high = figure["interval"]
    return f"{figure['value']:.3f} [{low:.3f}, {high:.3f}]"

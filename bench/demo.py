"""What one training is worth, beside bounds: the figures of this checkout's last `make demo`, kept.

    make demo && python bench/demo.py

bench/results/demo.json has what evaluate found, the seconds of each stage, and the commit that the
records of all stages name.
"""

import json
import sys
from collections.abc import Mapping
from functools import reduce
from typing import Any

from bucolic.base.files import write_json
from bucolic.pipeline.record import read_record
from bucolic.pipeline.table import NAMES
from recorded import ROOT, machine

OUT = ROOT / "bench/results/demo.json"
ARMS = {
    "metrics": "**model**",
    "best_of": "the best of four by CLIP",
    "heldout_combinations": "model, combinations training never showed",
    "heldout_combinations.best_of": "the best of four of those",
    "bounds.real": "real test pictures",
    "bounds.decode_from_posterior": "reconstructions (ceiling of the prior)",
    "bounds.retrieval": "nearest training picture by text",
    "heldout_combinations.bounds.retrieval": "the same, on those combinations",
    "bounds.shuffled_prompts": "shuffled prompts",
    "bounds.mean_image": "mean training picture",
}
METRICS = {
    "attributes_all_right": "all stated attributes right",
    "attribute_accuracy": "attribute accuracy",
    "r_precision": "R-precision, by a judge of its own",
    "sharpness_ratio": "sharpness",
}


def main() -> None:
    """Keep the figures, and print README's table of them."""
    records = {name: read_record(ROOT / f"reports/records/{name}.json") for name in NAMES}
    commits = {_commit_of(record) for record in records.values()}
    if len(commits) != 1 or None in commits:
        sys.exit("the stages did not all run at one commit, without changes: make demo in a clone")
    found = {
        "command": "make demo && python bench/demo.py",
        "commit": commits.pop(),
        "machine": machine(),
        "duration_s": {name: record["duration_s"] for name, record in records.items()},
        "evaluate": json.loads((ROOT / "reports/evaluate.json").read_text()),
    }
    write_json(OUT, found)
    print(*lines(found), sep="\n")


def _commit_of(record: Mapping[str, Any]) -> str | None:
    state = record.get("git", {})
    return None if state.get("dirty", True) else state.get("commit")


def lines(found: Mapping[str, Any]) -> list[str]:
    """README's table: a row an arm, a column a figure with its 95 % interval."""
    rows = [["arm", *METRICS.values()], ["---"] * (1 + len(METRICS))]
    for place, title in ARMS.items():
        rows.append([title, *(_cell(found["evaluate"], place, name) for name in METRICS)])
    return [f"| {' | '.join(row)} |" for row in rows]


def _cell(evaluate: Mapping[str, Any], place: str, name: str) -> str:
    of_arm: Mapping[str, Any] = reduce(lambda level, key: level[key], place.split("."), evaluate)
    value = of_arm.get(name)
    if value is None:
        return ""
    shown = f"**{value:.3f}**" if place == "metrics" else f"{value:.3f}"
    low, high = evaluate["counts"]["intervals"].get(f"{place}.{name}") or (value, value)
    return shown if low == high else f"{shown} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()

"""What a preset's model is worth over several seeds of training: chain, train, evaluate, average.

    python bench/quality.py meadow --seeds 3

The data are made once, then a model is trained and judged for each seed, all in a scratch folder
below .work/bench. Run again, it goes on where it was killed. The file holds an entry a preset, with
the commit that it is of, and of every figure mean, least and largest over the seeds, the prompts or
pictures behind it, and the 95 % interval of each seed, in which these vary.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bucolic.base.files import write_json
from bucolic.pipeline.params import Params
from recorded import ROOT, clean_commit, command, machine, record
from scratch import OF_MODEL, home_of, make_data, params_of, runtime

PARTS = ("metrics", "best_of", "heldout_combinations")
RESULT = "evaluate.json"
SHOWN = (
    ("all stated attributes right", "metrics", "attributes_all_right"),
    ("the best of four by CLIP", "best_of", "attributes_all_right"),
    ("combinations training never showed", "heldout_combinations", "attributes_all_right"),
    ("species", "metrics", "species"),
    ("count", "metrics", "count"),
    ("colour", "metrics", "colour"),
    ("R-precision, by a judge of its own", "metrics", "r_precision"),
    ("PSNR of reconstructions, dB", "metrics", "psnr_db"),
    ("sharpness", "metrics", "sharpness_ratio"),
    ("KID", "metrics", "kid"),
)


def main() -> None:
    """Measure one preset, and put it beside what the file holds of others."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/quality.json")
    arguments = parser.parse_args()
    of_commit = clean_commit()
    home, params = home_of(arguments.preset, of_commit), params_of(arguments.preset)
    out = arguments.out.resolve()
    make_data(home, params)
    found = [_judged(home, params, seed) for seed in range(arguments.seeds)]
    about = {"seeds": arguments.seeds, "commit": of_commit, "command": command()}
    about |= {"machine": machine()}
    entry = about | {part: _over_seeds(found, part) for part in PARTS}
    former = presets_in(json.loads(out.read_text())) if out.exists() else {}
    entries = former | {arguments.preset: entry}
    record(out, entries)
    print(*lines(entries), sep="\n")


def presets_in(content: dict[str, Any]) -> dict[str, Any]:
    """The entries of a result, by preset."""
    return {
        name: entry
        for name, entry in content.items()
        if isinstance(entry, dict) and {PARTS[0], "command"} <= entry.keys()
    }


def lines(entries: dict[str, Any]) -> list[str]:
    """README's table of entries: a row a figure, a column a preset, mean (least to largest)."""
    head = [["over seeds of training", *(f"`{preset}`" for preset in entries)]]
    rows = [
        [title, *(_cell(entry[part], name) for entry in entries.values())]
        for title, part, name in SHOWN
    ]
    return [f"| {' | '.join(row)} |" for row in head + rows]


def _cell(figures: dict[str, Any], name: str) -> str:
    if name not in figures:  # of a data set that says nothing of attributes
        return ""
    places = 1 if name.endswith("_db") else 3
    mean, *ends = (f"{value:.{places}f}" for value in (figures[name], *figures[f"{name}_range"]))
    return f"{mean} ({' to '.join(ends)})"


def _judged(home: Path, params: Params, seed: int) -> dict[str, Any]:
    """The content of evaluate.json for a model trained with a seed."""
    folder = home / f"seed-{seed}"
    if not (folder / RESULT).exists():
        (folder / "reports").mkdir(parents=True, exist_ok=True)
        (folder / "data").is_symlink() or (folder / "data").symlink_to(home / "data")
        os.chdir(folder)
        train = params.train.model_copy(update={"seed": seed})
        seeded = params.model_copy(update={"train": train})
        for stage in OF_MODEL:
            summary = stage.run(seeded, runtime(folder), home)
        write_json(folder / RESULT, summary.figures)
    content: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return content


def _over_seeds(found: list[dict[str, Any]], part: str) -> dict[str, Any]:
    """Mean of each figure that every seed has, and behind `_range` the least and the largest."""
    columns = [_flat(content.get(part, {})) for content in found]
    figures: dict[str, Any] = {}
    for name in columns[0]:
        values = [column.get(name) for column in columns]
        if all(isinstance(value, int | float) for value in values):
            figures[name] = round(float(np.mean(values)), 4)
            figures[f"{name}_range"] = [round(min(values), 4), round(max(values), 4)]
            figures |= _behind(found, part, name)
    return figures


def _behind(found: list[dict[str, Any]], part: str, name: str) -> dict[str, Any]:
    """How many prompts or pictures a figure is of, and its interval, of each seed.

    One number where they are of as many; None of a seed that does not say.
    """
    sizes = [_said(content["counts"]["n"], part, name) for content in found]
    intervals = [_said(content["counts"]["intervals"], part, name) for content in found]
    behind: dict[str, Any] = {}
    if any(size is not None for size in sizes):
        behind[f"{name}_n"] = sizes[0] if len(set(sizes)) == 1 else sizes
    if any(intervals):
        behind[f"{name}_intervals"] = [
            interval and [round(end, 4) for end in interval] for interval in intervals
        ]
    return behind


def _said(of_figures: dict[str, Any], part: str, name: str) -> Any:
    """What is said of a figure, which may be one of the attributes; None where nothing is."""
    return of_figures.get(f"{part}.{name}", of_figures.get(f"{part}.attributes.{name}"))


def _flat(figures: dict[str, Any]) -> dict[str, Any]:
    """Figures with those of single attributes beside the others; no other arm's."""
    own = {name: value for name, value in figures.items() if not isinstance(value, dict)}
    return own | figures.get("attributes", {})


if __name__ == "__main__":
    main()

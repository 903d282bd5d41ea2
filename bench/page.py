"""bench/RESULTS.md, written from the files of bench/results: each figure beside its command.

python bench/page.py
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

from bucolic.arms.page import gap_line
from bucolic.arms.page import lines as arms_lines
from bucolic.base.files import write_text
from demo import lines as demo_lines
from quality import lines as quality_lines
from quality import presets_in
from recorded import ROOT

RESULTS, PAGE = ROOT / "bench/results", ROOT / "bench/RESULTS.md"
Found = dict[str, Any]


def main() -> None:
    """Write the page anew."""
    write_text(PAGE, text())


def text() -> str:
    """The page of the results there are."""
    return "\n".join([*_head(), *(line for name in SECTIONS for line in _section(name)), ""])


def _head() -> Iterator[str]:
    yield "# Results of benchmarks"
    yield ""
    yield "Written by `python bench/page.py` from bench/results. A result names the command that"
    yield "made it, the commit that was checked out, and the machine; ratios are of runs in turn."


def _section(name: str) -> Iterator[str]:
    path = RESULTS / f"{name}.json"
    if not path.exists():
        return
    title, body = SECTIONS[name]
    found = json.loads(path.read_text())
    yield from ("", f"## {title}", "")
    if not presets_in(found):  # whose entries each say it
        yield _source(found)
        yield ""
    yield from body(found)


def _source(found: Found) -> str:
    """What made a result: command, commit and machine."""
    machine = found["machine"]
    devices = ", ".join(machine["devices"]) or f"{machine['cores']} cores"
    return f"`{found['command']}`, commit {found['commit'][:7]}, {machine['processor']} ({devices})"


def _filter(found: Found) -> Iterator[str]:
    yield f"{found['images']:,} images with {found['captions']:,} captions. Both select the same"
    yield f"{found['selected']:,} images; whole processes, medians over rounds."
    yield ""
    yield from _race(found, {"wall_s": "seconds", "peak_mb": "peak, MB"}, ("time", "memory"))


def _race(found: Found, rows: dict[str, str], ratios: tuple[str, ...]) -> Iterator[str]:
    """A table of two that did the same work."""
    yield f"| | bucolic | {found['peer']['name']} | ratio |"
    yield "|---|---|---|---|"
    for (key, label), ratio in zip(rows.items(), ratios, strict=True):
        ours, theirs = found["ours"][key], found["peer"][key]
        yield f"| {label} | {ours} | {theirs} | {found[f'{ratio}_ratio']} |"


def _train(found: Found) -> Iterator[str]:
    yield "| phase | images a second | precision | share of the matrix peak | loop and logging |"
    yield "|---|---|---|---|---|"
    for phase, of_phase in found["phases"].items():
        shares = (f"{of_phase[name]:.1%}" for name in ("share_of_matrix_peak", "loop_share"))
        cells = [phase, f"{of_phase['images_per_s']:.0f}", of_phase["precision"], *shares]
        yield f"| {' | '.join(cells)} |"


def _quality(found: Found) -> Iterator[str]:
    entries = presets_in(found)
    for preset, entry in entries.items():
        yield f"- `{preset}`: {_source(entry)}"
    yield ""
    head, *rows = quality_lines(entries)
    yield head
    yield "|---" * (head.count("|") - 1) + "|"
    yield from rows


def _arms(found: Found) -> Iterator[str]:
    yield gap_line(found)
    yield from arms_lines(found)


def _photographs(found: Found) -> Iterator[str]:
    yield f"{found['pictures']} photographs at {found['size_px']} px, each held out once in"
    yield f"{found['folds']} folds; {found['images_seen']:,} images seen in each training."
    yield ""
    yield "| | mean | 95 % interval |"
    yield "|---|---|---|"
    for name, figure in found["figures"].items():
        low, high = figure["interval"]
        yield f"| {name.replace('/', ', ')} | {figure['mean']} | {low} to {high} |"


def _demo(found: Found) -> Iterator[str]:
    seconds = found["duration_s"]
    stages = ", ".join(f"{name} {taken:.0f}" for name, taken in seconds.items())
    yield f"Seconds: {stages}; in all {sum(seconds.values()):.0f}."
    yield ""
    yield from demo_lines(found)


SECTIONS: dict[str, tuple[str, Callable[[Found], Iterator[str]]]] = {
    "filter": ("Filter: captions searched for a theme", _filter),
    "train": ("Training: speed of the two phases", _train),
    "demo": ("One training of preset meadow, beside bounds", _demo),
    "quality": ("Quality over seeds of training", _quality),
    "arms": ("Pictures or captions", _arms),
    "photographs": ("What an autoencoder keeps of photographs", _photographs),
}


if __name__ == "__main__":
    main()

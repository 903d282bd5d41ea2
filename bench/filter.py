"""The filter stage beside pycocotools and a loop, on as many captions as COCO's train2017 has.

    python bench/filter.py

The captions are those of a real file, tiled under new ids until they are those of 118,287 images.
The peer is given one regular expression with all words and their plurals, the file it reads is the
same, and it writes nothing: it keeps the ids of the images in which a caption matches. In every run
both say the sha256 of the ids that they select, ours of those that it wrote, which must be one. One
more run shows where the time goes.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

from bucolic.base.keywords import pattern_of
from bucolic.stages.filter import FilterConfig
from peers import CAPTIONS, Run, captions_of, environment, packages, raced, summary, timed
from recorded import ROOT, clean_commit, record
from scratch import params_of

IMAGES = 118_287
REQUIREMENT = "pycocotools==2.0.11"
OURS = """
import hashlib, json, sys
from pathlib import Path
from pyarrow.parquet import ParquetFile
from bucolic.stages.filter import FilterConfig, select_images
config = FilterConfig.model_validate_json(sys.argv[3])
out = Path(sys.argv[2])
summary = select_images(Path(sys.argv[1]), out, out.with_name("attribution"), config=config)
ids = sorted(ParquetFile(out).read(columns=["image_id"])["image_id"].to_pylist())
sha256 = hashlib.sha256(json.dumps(ids).encode()).hexdigest()
print(json.dumps({"selected": summary.figures["selected"], "sha256": sha256}))
"""
PEER = """
import hashlib, json, re, sys
from contextlib import redirect_stdout
from pycocotools.coco import COCO
with redirect_stdout(sys.stderr):
    coco = COCO(sys.argv[1])
pattern = re.compile(sys.argv[2], re.IGNORECASE)
found = {a["image_id"] for a in coco.anns.values() if pattern.search(a["caption"])}
sha256 = hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()
print(json.dumps({"selected": len(found), "sha256": sha256}))
"""
PROFILE = """
import json, sys, time
from pathlib import Path

begun = time.perf_counter()
import bucolic.stages.filter as stage
spent = {"imports": time.perf_counter() - begun}
STEPS = {
    "read": ["read_captions"],
    "search": ["junk_in", "find_words", "part_of_other_words"],
    "write": ["write_selection", "write_attribution"],
}

def watched(step, compute):
    def run(*given, **named):
        begun = time.perf_counter()
        made = compute(*given, **named)
        spent[step] = spent.get(step, 0) + time.perf_counter() - begun
        return made
    return run

for step, names in STEPS.items():
    for name in names:
        setattr(stage, name, watched(step, getattr(stage, name)))
begun, out = time.perf_counter(), Path(sys.argv[2])
config = stage.FilterConfig.model_validate_json(sys.argv[3])
stage.select_images(Path(sys.argv[1]), out, out.with_name("attribution"), config=config)
whole = time.perf_counter() - begun
spent["rest"] = whole - sum(spent[step] for step in STEPS)
print(json.dumps(spent))
"""


def main() -> None:
    """Race both, and record medians and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--captions", type=Path, default=CAPTIONS, help="a captions file of COCO's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/filter.json")
    arguments = parser.parse_args()
    source = captions_of(arguments.captions)
    clean_commit()
    folder = ROOT / ".work/bench/filter"
    tiled, captions = _tiled(source)
    (folder / "annotations").mkdir(parents=True, exist_ok=True)
    path = folder / "annotations/captions_train2017.json"
    path.write_text(json.dumps(tiled))
    words = params_of("coco2017").filter.keywords
    config = FilterConfig(keywords=words).model_dump_json()
    ours = [sys.executable, "-c", OURS, str(path.parent), str(folder / "selection.parquet"), config]
    pattern = "|".join(pattern_of(word, "word").pattern for word in words)
    python = environment("pycocotools", REQUIREMENT)
    peer = [python, "-c", PEER, str(path), pattern]
    runs = raced({"ours": ours, "peer": peer}, arguments.rounds)
    found = {"images": IMAGES, "captions": captions, **_compared(runs)}
    found["peer"]["packages"] = packages(python, "pycocotools", "numpy")
    steps = timed([sys.executable, "-c", PROFILE, *ours[3:]]).said
    found["profile_s"] = {step: round(spent, 2) for step, spent in steps.items()}
    record(arguments.out.resolve(), found)
    print(json.dumps(found, indent=1))


def _tiled(source: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """A captions file of IMAGES images, and how many captions it has."""
    captions: defaultdict[int, list[str]] = defaultdict(list)
    for caption in source["annotations"]:
        captions[caption["image_id"]].append(caption["caption"])
    images, annotations, numbers = [], [], count(1)
    for number, image in enumerate(islice(cycle(source["images"]), IMAGES), 1):
        images.append(image | {"id": number, "file_name": f"{number:012d}.jpg"})
        annotations += [
            {"image_id": number, "id": next(numbers), "caption": text}
            for text in captions[image["id"]]
        ]
    return source | {"images": images, "annotations": annotations}, len(annotations)


def _compared(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    ours, peer = summary(runs["ours"]), summary(runs["peer"])
    return {
        **_selected(runs),
        "ours": ours,
        "peer": {"name": REQUIREMENT, **peer},
        "time_ratio": round(ours["wall_s"] / peer["wall_s"], 3),
        "memory_ratio": round(ours["peak_mb"] / peer["peak_mb"], 3),
    }


def _selected(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """How many images all runs select, and the sha256 of their ids; ends where two runs differ."""
    said = {name: [run.said for run in of_tool] for name, of_tool in runs.items()}
    first = said["ours"][0]
    if any(one != first for of_tool in said.values() for one in of_tool):
        sys.exit(f"the two do not select the same images in every run: {said}")
    return {"selected": first["selected"], "selected_sha256": first["sha256"]}


if __name__ == "__main__":
    main()

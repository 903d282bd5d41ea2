"""How the memory of the stages up to shard grows from 10,000 to 100,000 images.

    python bench/scale.py

Each stage is a process of its own, whose peak is what the system says. Images are small JPEGs with
five captions, each another, but that one in a hundred is the one before it coded again; what grows
with their number is what a stage keeps of them, not their pixels.
"""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from bucolic.presets import preset_text
from peers import timed
from recorded import ROOT, clean_commit, record

COUNTS = (10_000, 100_000)
STAGES = ("annotations", "filter", "images", "embed", "shard")
CAPTIONS_EACH, SIDE_PX, COPIED_EACH = 5, 80, 100
RUN = """
import json, os, sys, time
from pathlib import Path
from bucolic.base.runtime import Runtime
from bucolic.pipeline.params import parse_params
from bucolic.pipeline.table import named

home, stage = Path(sys.argv[1]), sys.argv[2]
os.chdir(home)
params = parse_params(json.loads(Path("params.json").read_text()))
begun = time.perf_counter()
summary = named(stage).run(params, Runtime(home / "work", home / "cache"), home)
print(json.dumps({"out": summary.rows.out, "seconds": round(time.perf_counter() - begun, 1)}))
"""


def main() -> None:
    """Run all stages at both sizes, and record peaks and their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/scale.json")
    arguments = parser.parse_args()
    clean_commit()
    out = arguments.out.resolve()
    by_count = {count: _peaks(ROOT / f".work/bench/scale-{count}", count) for count in COUNTS}
    few, many = by_count.values()
    ratios = {name: round(many[name]["peak_mb"] / few[name]["peak_mb"], 3) for name in STAGES}
    found = {str(count): stages for count, stages in by_count.items()}
    found["memory_ratio_100k_vs_10k"] = ratios
    record(out, found)
    print(json.dumps(found, indent=1))


def _peaks(home: Path, count: int) -> dict[str, dict[str, Any]]:
    _make_data(home, count)
    write_params(home, "folder", "coco")
    found = peaks(home)
    shutil.rmtree(home)
    return found


def write_params(home: Path, preset: str, root: str, **images: object) -> None:
    """Params of a preset for cows of a data set, embedded by the CLIP that is here."""
    content = YAML(typ="safe").load(preset_text(preset))
    content["dataset"]["root"] = root
    content["filter"]["keywords"] = ["cow"]
    content["clip"] = {"model": "meadow-clip", "allow_mismatch": True}
    content["images"] |= images
    (home / "params.json").write_text(json.dumps(content))


def peaks(home: Path) -> dict[str, dict[str, Any]]:
    """Run the stages up to shard there, each in a process; how long each took, and its peak."""
    found = {}
    for name in STAGES:
        run = timed([sys.executable, "-c", RUN, str(home), name])
        found[name] = {**run.said, "peak_mb": round(run.peak_bytes / 1e6)}
        print(f"{home.name} {name}: {found[name]}", flush=True)
    return found


def _make_data(home: Path, count: int) -> None:
    """Images in COCO's layout."""
    shutil.rmtree(home, ignore_errors=True)
    (home / "coco/annotations").mkdir(parents=True)
    (home / "coco/train2017").mkdir()
    numbers = range(1, count + 1)
    for number in numbers:
        (home / f"coco/train2017/{number:012d}.jpg").write_bytes(picture(number))
    (home / "coco/annotations/captions_train2017.json").write_text(captions(numbers))


def captions(numbers: Iterable[int]) -> str:
    """The JSON of images with these ids, and of what is said of them."""
    images, said = [], []
    for number in numbers:
        name = f"{number:012d}.jpg"
        images.append({"id": number, "file_name": name, "width": SIDE_PX, "height": SIDE_PX})
        for k in range(CAPTIONS_EACH):
            text = f"A cow of number {number} on the {k}th meadow, standing beside its neighbour"
            said.append({"id": CAPTIONS_EACH * number + k, "image_id": number, "caption": text})
    return json.dumps({"images": images, "annotations": said})


def picture(number: int) -> bytes:
    """A JPEG of smooth noise, not near any other but where it is one coded again."""
    is_copy = number % COPIED_EACH == 0
    draw = np.random.default_rng(number - is_copy)
    coarse = Image.fromarray(draw.integers(0, 256, (10, 10, 3), dtype=np.uint8))
    smooth = coarse.resize((SIDE_PX, SIDE_PX), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    smooth.save(buffer, "JPEG", quality=60 if is_copy else 80)
    return buffer.getvalue()


if __name__ == "__main__":
    main()

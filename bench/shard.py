"""Checked photographs to shards: the stages images and shard beside img2dataset.

    python bench/shard.py

Both read the same JPEGs of 640 pixels from this disk and write WebDataset tars of PNGs, 64 pixels
square. The peer is given file addresses, a process a core, the threads that are its best here, and
one shard a process; it reads no EXIF, as ours does not, and takes the sha256 of each file, as ours
does. Its rate is that of its workers, without the seconds that it takes to start and to import.
Ours is that of both stages, from the selection to the index, likewise without imports; vectors,
which another stage makes, are there before. A rate counts what was written: ours leaves out near
duplicates of held-out pictures, and spends time on them. A ratio is the median over rounds of what
the runs of one round give.
Behind the race each step on a photograph is measured alone, to show where the time goes.
"""

import argparse
import io
import json
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from bucolic.base.runtime import usable_cpus
from bucolic.stages.filter import FilterConfig, select_images
from peers import (
    PHOTOGRAPHS,
    Run,
    environment,
    packages,
    photographs_in,
    raced,
    summary,
    timed,
)
from recorded import ROOT, clean_commit, record

IMAGES, WIDTH_PX, HEIGHT_PX, SIZE_PX = 2151, 640, 480, 64
REQUIREMENTS = ("img2dataset==1.47.0", "setuptools<70")
PACKAGES = ("img2dataset", "numpy", "opencv-python-headless", "webdataset")
PEER_THREADS, SWEEP_ROUNDS = (2, 8, 16), 2
OURS = """
import json, shutil, sys, time
from pathlib import Path
import numpy as np
import pandas  # which Arrow imports with the first column that it makes
from bucolic.base.runtime import Runtime
from bucolic.data.embeddings import CaptionEmbeddings, ImageEmbeddings, write_captions, write_images
from bucolic.data.images import read_index
from bucolic.data.selection import read_selection
from bucolic.stages.images import ImagesConfig, get_images
from bucolic.stages.shard import ShardConfig, shard

root, home, scaled = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "scaled"
shutil.rmtree(home / "made", ignore_errors=True)
made = home / "made"
runtime = Runtime(work=made / "work", cache=made / "cache")
config = ShardConfig(size_px=64, crop="centre", scaled_decode=scaled)
selection, images = home / "selection.parquet", made / "images"
begun = time.perf_counter()
get_images(root, selection, images, config=ImagesConfig(), shard=config, runtime=runtime)
images_s = time.perf_counter() - begun
rows, chosen = read_index(images), read_selection(selection)
clip = {"model": "m", "weights_sha256": "0", "preprocessing": "p"}
clip |= {"precision": "fp32", "embed_dim": 4}
ids = np.array([row.image_id for row in rows])
vectors = np.zeros((len(ids), 4), np.float32)
digests = tuple(str(row.sha256) for row in rows)
write_images(made / "vectors/images.parquet", ImageEmbeddings(ids, digests, vectors), clip)
pairs = [(row.image.image_id, caption) for row in chosen for caption in row.image.captions]
captions = CaptionEmbeddings(
    np.array([caption.caption_id for _, caption in pairs]),
    np.array([number for number, _ in pairs]),
    tuple(caption.text for _, caption in pairs),
    np.zeros((len(pairs), 4), np.float32),
)
write_captions(made / "vectors/captions.parquet", captions, clip)
begun = time.perf_counter()
places = selection, images, made / "vectors", made / "shards"
summary = shard(*places, config=config, runtime=runtime)
shard_s = time.perf_counter() - begun
written = summary.rows.out
print(json.dumps({"images": written, "images_s": images_s, "shard_s": shard_s,
                  "rate": written / (images_s + shard_s)}))
"""
PEER = """
import json, shutil, sys
from pathlib import Path
from img2dataset import download

urls, out = sys.argv[1], Path(sys.argv[2])
processes, per_shard, threads = map(int, sys.argv[3:])
shutil.rmtree(out, ignore_errors=True)
download(url_list=urls, input_format="csv", url_col="url", caption_col="caption", image_size=64,
         resize_mode="center_crop", encode_format="png", encode_quality=3, output_folder=str(out),
         output_format="webdataset", processes_count=processes, thread_count=threads,
         number_sample_per_shard=per_shard, extract_exif=False, enable_wandb=False)
stats = [json.loads(path.read_text()) for path in out.glob("*_stats.json")]
took_s = max(s["end_time"] for s in stats) - min(s["start_time"] for s in stats)
written = sum(s["successes"] for s in stats)
print(json.dumps({"images": written, "took_s": took_s, "rate": written / took_s}))
"""
PROFILE = """
import hashlib, json, sys, time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from bucolic.data.pillow import prepare_pillow
from bucolic.data.images import decoded
from bucolic.data.squares import Framing

def steps(paths, framing):
    prepare_pillow()
    spent = dict.fromkeys(("sha256", "decode", "square"), 0.0)
    def step(name, compute):
        begun = time.perf_counter()
        made = compute()
        spent[name] += time.perf_counter() - begun
        return made
    for path in paths:
        content = path.read_bytes()
        step("sha256", lambda: hashlib.sha256(content).hexdigest())
        # The picture is kept against the rules of `decoded`, to make its square a step of its own.
        seen = step("decode", lambda: decoded(content, lambda *seen: seen, framing.decode_px))
        step("square", lambda: framing.file_of(seen[0], None, seen[1]))
    return spent

if __name__ == "__main__":
    paths, processes = sorted(Path(sys.argv[1]).glob("*.jpg")), int(sys.argv[2])
    found = {}
    for name in ("scaled", "whole"):
        framing = Framing(scaled_decode=name == "scaled")
        with ProcessPoolExecutor(processes) as pool:
            parts = [paths[number::processes] for number in range(processes)]
            spent = list(pool.map(steps, parts, [framing] * processes))
        sums = {step: sum(part[step] for part in spent) for step in spent[0]}
        found[name] = {step: 1000 * spent_s / len(paths) for step, spent_s in sums.items()}
    print(json.dumps(found))
"""


def main() -> None:
    """Race them, and record medians and ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, default=PHOTOGRAPHS, help="a folder of JPEGs")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/shard.json")
    arguments = parser.parse_args()
    photographs = photographs_in(arguments.photographs)
    clean_commit()
    folder = ROOT / ".work/bench/shard"
    make_data(photographs, folder)
    python = environment("img2dataset", *REQUIREMENTS)
    theirs = _of_peer(python, folder)
    swept = raced({str(threads): theirs(threads) for threads in PEER_THREADS}, SWEEP_ROUNDS)
    sweep = {int(threads): _rate(runs) for threads, runs in swept.items()}
    threads = max(sweep, key=lambda count: sweep[count])
    ours = [sys.executable, "-c", OURS, str(folder / "coco"), str(folder)]
    commands = {"scaled": [*ours, "scaled"], "whole": [*ours, "whole"], "peer": theirs(threads)}
    found = _compared(raced(commands, arguments.rounds))
    found["peer"] |= {"threads": threads, "sweep": sweep, "packages": packages(python, *PACKAGES)}
    found["profile_ms"] = _profiles(found, folder)
    record(arguments.out.resolve(), found)
    print(json.dumps(found, indent=1))


def _of_peer(python: str, folder: Path) -> Callable[[int], list[str]]:
    """The peer's command, for some number of threads a process."""
    places = [str(folder / "urls.csv"), str(folder / "theirs")]
    processes = usable_cpus()
    per_shard = -(-IMAGES // processes)
    command = [python, "-c", PEER, *places, str(processes), str(per_shard)]
    return lambda threads: [*command, str(threads)]


def make_data(photographs: Sequence[Path], folder: Path) -> None:
    """IMAGES pictures in COCO's layout, each a part of a photograph, and the peer's list."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "coco/train2017").mkdir(parents=True)
    (folder / "coco/annotations").mkdir()
    sources = [Image.open(path).convert("RGB") for path in photographs]
    draw = np.random.default_rng(0)
    images, captions, lines = [], [], ["url,caption"]
    for number in range(1, IMAGES + 1):
        path = folder / f"coco/train2017/{number:012d}.jpg"
        path.write_bytes(part_of(sources[number % len(sources)], draw))
        size = {"width": WIDTH_PX, "height": HEIGHT_PX}
        images.append({"id": number, "file_name": path.name, **size})
        captions.append({"id": number, "image_id": number, "caption": f"cow {number}"})
        lines.append(f"file://{path},cow {number}")
    content = json.dumps({"images": images, "annotations": captions})
    (folder / "coco/annotations/captions_train2017.json").write_text(content)
    (folder / "urls.csv").write_text("\n".join(lines) + "\n")
    config = FilterConfig(keywords=("cow",))
    out = folder / "selection.parquet"
    select_images(folder / "coco/annotations", out, folder / "attribution", config=config)


def part_of(photograph: Image.Image, draw: np.random.Generator) -> bytes:
    """A JPEG of a part of a photograph, at COCO's size.

    Two parts of one photograph may be near duplicates.
    """
    share = draw.uniform(0.5, 0.9)
    width, height = (int(share * side) for side in photograph.size)
    left = int(draw.integers(0, photograph.width - width + 1))
    top = int(draw.integers(0, photograph.height - height + 1))
    part = photograph.crop((left, top, left + width, top + height)).resize((WIDTH_PX, HEIGHT_PX))
    if draw.random() < 0.5:
        part = ImageOps.mirror(part)
    buffer = io.BytesIO()
    part.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


def _compared(runs: Mapping[str, Sequence[Run]]) -> dict[str, Any]:
    """What each took and wrote, and how many times the peer's rate ours is."""
    scaled, whole = (_ratios(runs[name], runs["peer"]) for name in ("scaled", "whole"))
    return {
        "images": IMAGES,
        "written": {name: of_one[0].said["images"] for name, of_one in runs.items()},
        "ours": {
            name: _taken(runs[name])
            | {of: _median(runs[name], of) for of in ("images_s", "shard_s")}
            for name in ("scaled", "whole")
        },
        "peer": {"name": REQUIREMENTS[0], **_taken(runs["peer"]), "processes": usable_cpus()},
        "ratio_vs_img2dataset": round(median(scaled), 3),
        "ratio_vs_img2dataset_all": scaled,
        "ratio_decoded_whole": round(median(whole), 3),
        "ratio_decoded_whole_all": whole,
    }


def _taken(runs: Sequence[Run]) -> dict[str, Any]:
    rates = [round(run.said["rate"], 1) for run in runs]
    return {**summary(runs), "images_per_s": _rate(runs), "images_per_s_all": rates}


def _ratios(ours: Sequence[Run], peers: Sequence[Run]) -> list[float]:
    """Our rate over the peer's, round by round."""
    pairs = zip(ours, peers, strict=True)
    return [round(own.said["rate"] / peer.said["rate"], 3) for own, peer in pairs]


def _rate(runs: Sequence[Run]) -> float:
    """Images written in a second."""
    return round(median(run.said["rate"] for run in runs), 1)


def _profiles(found: dict[str, Any], folder: Path) -> dict[str, dict[str, float]]:
    """Milliseconds of one core for an image, of each step, with both ways to decode."""
    profile = folder / "profile.py"  # a file: its processes import it
    profile.write_text(PROFILE)
    photographs, processes = str(folder / "coco/train2017"), str(usable_cpus())
    alone = timed([sys.executable, str(profile), photographs, processes]).said
    return {name: _profile(found["ours"][name], steps) for name, steps in alone.items()}


def _profile(ours: dict[str, Any], alone: dict[str, float]) -> dict[str, float]:
    """Milliseconds of one core for an image: of each step alone, on all cores, and what is left."""
    whole = 1000 * usable_cpus() * (ours["images_s"] + ours["shard_s"]) / IMAGES
    steps = alone | {"rest": whole - sum(alone.values())}
    return {step: round(spent, 2) for step, spent in steps.items()}


def _median(runs: Sequence[Run], name: str) -> float:
    return round(median(run.said[name] for run in runs), 2)


if __name__ == "__main__":
    main()

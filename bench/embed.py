"""Photographs and captions to CLIP vectors: the embed stage beside clip-retrieval, both in fp32.

    python bench/embed.py

239 JPEGs of 640 pixels and 1,195 captions of COCO, one of each five with one more word that the
theme asks for, through ViT-B/32 with weights drawn by chance, whose speed is that of trained ones.
The peer embeds images once and texts once, in batches of its best size here; its rate is that of
its inference, without start and warm-up. Ours is that of the whole stage after its towers are
loaded. The towers' own rate is taken in a process of its own, of pixels and texts that are ready.
Seconds of images and of texts stand apart for the peer and the towers; in our stage both overlap.
Where a CPU or device computes bf16 natively, ours is run in that as well.
"""

import argparse
import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import open_clip
import torch
from PIL import Image

from bucolic.base.device import choose_precision
from bucolic.base.files import file_digest
from bucolic.base.runtime import Runtime
from bucolic.data.embeddings import read_embeddings
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images
from bucolic.stages.shard import ShardConfig
from peers import (
    CAPTIONS,
    PHOTOGRAPHS,
    Run,
    captions_of,
    environment,
    packages,
    photographs_in,
    raced,
    summary,
    timed,
)
from recorded import ROOT, clean_commit, record
from shard import part_of

KINDS = ("image", "text")
MODEL, IMAGES, CAPTIONS_EACH = "ViT-B-32", 239, 5
PEER_BATCHES = 8, 32, 128
PACKAGES = ("clip-retrieval", "open_clip_torch", "torch", "numpy")
TIMES = ("seconds", "images_s", "texts_s")
STEPS = ("torch==2.14.1 torchvision==0.29.1 clip-retrieval==2.45.0", "setuptools<70")
OURS = """
import json, shutil, sys, time
from pathlib import Path
from bucolic.base.runtime import Runtime
from bucolic.seeing.clip import towers as towers_module
from bucolic.seeing.clip.config import ClipConfig
from bucolic.stages.embed import embed
from bucolic.stages.shard import ShardConfig

home, precision, model, weights, sha256 = Path(sys.argv[1]), *sys.argv[2:6]
out = home / f"vectors-{precision}"
shutil.rmtree(home / "cache/embeddings", ignore_errors=True)
clip = ClipConfig(model=model, pretrained=weights, pretrained_sha256=sha256, precision=precision)
towers = towers_module.load_towers(clip, "cpu")
towers_module.load_towers = lambda *_: towers  # the stage's time begins when they are loaded
runtime = Runtime(home / "work", home / "cache")
begun = time.perf_counter()
places = home / "selection.parquet", home / "images", out
summary = embed(*places, clip=clip, shard=ShardConfig(crop="centre"), runtime=runtime)
stage_s = time.perf_counter() - begun
print(json.dumps({"seconds": stage_s, "new": summary.new, "details": summary.details}))
"""
TOWERS = """
import json, sys, time
from pathlib import Path
from bucolic.data.embeddings import read_embeddings
from bucolic.data.images import decode, read_index
from bucolic.data.original_store import OriginalStore
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import load_towers

home, precision, model, weights, sha256 = Path(sys.argv[1]), *sys.argv[2:6]
clip = ClipConfig(model=model, pretrained=weights, pretrained_sha256=sha256, precision=precision)
towers = load_towers(clip, "cpu")
originals = OriginalStore(home / "cache")
rows = [row for row in read_index(home / "images") if row.status == "ok"]
pixels = [towers.preprocess(decode(originals.read(row.image_id, str(row.sha256)))) for row in rows]
_, captions, _ = read_embeddings(home / f"vectors-{precision}")
texts = sorted(set(captions.texts))
texts = [texts[place] for place in towers.text_lengths(texts).argsort(kind="stable")]
begun = time.perf_counter()
towers.embed_pixels(pixels)
images_s = time.perf_counter() - begun
towers.embed_texts(texts)
whole_s = time.perf_counter() - begun
print(json.dumps({"seconds": whole_s, "images_s": images_s, "texts_s": whole_s - images_s}))
"""
PEER = """
import json, os, shutil, sys
from pathlib import Path
os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "WANDB_MODE": "disabled",
               "NO_ALBUMENTATIONS_UPDATE": "1", "CUDA_VISIBLE_DEVICES": ""}
from clip_retrieval.clip_inference import clip_inference

home, weights, batch, model = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4]
took_s = {}
for kind, folder in (("image", "photographs"), ("text", "texts")):
    out = home / f"peer-{kind}"
    shutil.rmtree(out, ignore_errors=True)
    clip_inference(input_dataset=str(home / folder), output_folder=str(out),
                   input_format="files", batch_size=batch, num_prepro_workers=1,
                   enable_image=kind == "image", enable_text=kind == "text",
                   enable_metadata=False, clip_model=f"open_clip:{model}/{weights}",
                   use_jit=False, output_partition_count=1)
    stats = [json.loads(path.read_text()) for path in (out / "stats").glob("*.json")]
    took_s[kind] = sum(each["inference_duration"] for each in stats)
found = {"seconds": sum(took_s.values()), "images_s": took_s["image"], "texts_s": took_s["text"]}
print(json.dumps(found))
"""


def main() -> None:
    """Race them, and record rates, ratios and how far the vectors agree."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=Path, default=PHOTOGRAPHS, help="a folder of JPEGs")
    parser.add_argument("--captions", type=Path, default=CAPTIONS, help="a captions file of COCO's")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/embed.json")
    arguments = parser.parse_args()
    photographs, texts = photographs_in(arguments.photographs), texts_of(arguments.captions)
    clean_commit()
    home = ROOT / ".work/bench/embed"
    make_data(home, photographs, texts)
    weights, python = home / "weights.pt", environment("clip-retrieval", *STEPS)
    peer = [python, "-c", PEER, str(home), str(weights)]
    commands = {"fp32": _own(OURS, home, "fp32"), "fp32 towers": _own(TOWERS, home, "fp32")}
    sweep = {batch: _taken([timed([*peer, str(batch), MODEL])]) for batch in PEER_BATCHES}
    batch = min(sweep, key=lambda size: sweep[size]["seconds"])
    commands["peer"] = [*peer, str(batch), MODEL]
    native = choose_precision("auto", "cpu") == "bf16"
    if native:
        commands |= {"bf16": _own(OURS, home, "bf16"), "bf16 towers": _own(TOWERS, home, "bf16")}
    runs = raced(commands, arguments.rounds)
    found = {"images": IMAGES, "captions": IMAGES * CAPTIONS_EACH, "model": MODEL}
    found |= {"peer": {"name": STEPS[0].split()[-1], "batch": batch, **_taken(runs["peer"])}}
    found["peer"]["sweep"] = {size: taken["seconds"] for size, taken in sweep.items()}
    found["peer"]["packages"] = packages(python, *PACKAGES)
    found |= _compared(runs, home, "fp32")
    reason = {"reason": "this CPU has no tiles for bf16 (AMX)"}
    found["bf16"] = _compared(runs, home, "bf16") if native else reason
    record(arguments.out.resolve(), found)
    print(json.dumps(found, indent=1))


def _own(script: str, home: Path, precision: str) -> list[str]:
    weights = home / "weights.pt"
    arguments = [str(home), precision, MODEL, str(weights), file_digest(weights)]
    return [sys.executable, "-c", script, *arguments]


def _taken(runs: Sequence[Run]) -> dict[str, Any]:
    """Medians over rounds; what a program does not tell apart is not there."""
    told = [name for name in TIMES if name in runs[0].said]
    seconds = {name: round(median(run.said[name] for run in runs), 2) for name in told}
    return summary(runs) | seconds


def _compared(runs: Mapping[str, Sequence[Run]], home: Path, precision: str) -> dict[str, Any]:
    ours, towers = _taken(runs[precision]), _taken(runs[f"{precision} towers"])
    peer = _taken(runs["peer"])
    return {
        "ours": ours,
        "towers": towers,
        "ratio_vs_clip_retrieval": round(peer["seconds"] / ours["seconds"], 3),
        "wall_ratio": round(peer["wall_s"] / ours["wall_s"], 3),
        "fraction_of_towers": round(towers["seconds"] / ours["seconds"], 3),
        "cosine_min": round(_least_cosine(home, precision), 6),
    }


def _least_cosine(home: Path, precision: str) -> float:
    """Of our vectors and the peer's, or in bf16 of them and ours in fp32."""
    images, captions, _ = read_embeddings(home / f"vectors-{precision}")
    if precision == "fp32":
        others = [np.load(*home.glob(f"peer-{kind}/*_emb/*_emb_0.npy")) for kind in KINDS]
        order = np.argsort(captions.caption_ids)  # as the peer's file names are
        return float(min(map(_cosines, (images.vectors, captions.vectors[order]), others)))
    exact_images, exact_captions, _ = read_embeddings(home / "vectors-fp32")
    exact = exact_images.vectors, exact_captions.vectors
    return float(min(map(_cosines, (images.vectors, captions.vectors), exact)))


def _cosines(first: np.ndarray, second: np.ndarray) -> float:
    """The least cosine of rows that belong together."""
    pair = [each.astype(np.float64) for each in (first, second)]
    one, other = (each / np.linalg.norm(each, axis=1, keepdims=True) for each in pair)
    return float((one * other).sum(axis=1).min())


def make_data(home: Path, photographs: Sequence[Path], texts: Sequence[str]) -> None:
    """Photographs in COCO's layout with real captions, chosen and checked; the peer's folders."""
    shutil.rmtree(home, ignore_errors=True)
    for folder in ("coco/train2017", "coco/annotations", "photographs", "texts"):
        (home / folder).mkdir(parents=True)
    sources = [Image.open(path).convert("RGB") for path in photographs]
    draw = np.random.default_rng(0)
    images, captions = [], []
    for number in range(1, IMAGES + 1):
        name = f"{number:012d}.jpg"
        content = part_of(sources[number % len(sources)], draw)
        for folder in ("coco/train2017", "photographs"):
            (home / folder / name).write_bytes(content)
        images.append({"id": number, "file_name": name, "width": 640, "height": 480})
        for k in range(CAPTIONS_EACH):
            place = CAPTIONS_EACH * (number - 1) + k
            text = f"{texts[place]} cow" if k == 0 else texts[place]
            captions.append({"id": place + 1, "image_id": number, "caption": text})
            (home / f"texts/{place + 1:012d}.txt").write_text(text)
    path = home / "coco/annotations/captions_train2017.json"
    path.write_text(json.dumps({"images": images, "annotations": captions}))
    selection = home / "selection.parquet"
    config = FilterConfig(keywords=("cow",))
    select_images(path.parent, selection, home / "attribution", config=config)
    runtime = Runtime(home / "work", home / "cache")
    places = home / "coco", selection, home / "images"
    get_images(*places, config=ImagesConfig(), shard=ShardConfig(crop="centre"), runtime=runtime)
    torch.manual_seed(0)
    torch.save(open_clip.create_model(MODEL).state_dict(), home / "weights.pt")


def texts_of(path: Path) -> list[str]:
    """As many captions of a file as are raced, each once; ends where it has fewer."""
    texts = (" ".join(each["caption"].split()) for each in captions_of(path)["annotations"])
    found, needed = list(dict.fromkeys(texts)), IMAGES * CAPTIONS_EACH
    if len(found) < needed:
        said = f"{path} has {len(found)} different captions of {needed} that are needed"
        sys.exit(f"{said}: give --captions FILE, a captions file of COCO's")
    return found[:needed]


if __name__ == "__main__":
    main()

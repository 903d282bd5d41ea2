"""One more keyword on a data set that is on a server: what is fetched, embedded and written for it.

    python bench/swap.py

A server on this machine has noise pictures in COCO's layout, of each of six words in turn. The
stages up to shard run for two of the words, then for three. Bytes written are those of files that
are new or changed below .cache and data; shards and embeddings, which DVC keeps whole for each
theme, are counted on their own. What the second theme fetches is counted by the server as well.
"""

import argparse
import io
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from ruamel.yaml import YAML

from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.pipeline.params import Params, parse_params
from bucolic.presets import preset_text
from recorded import ROOT, clean_commit, record
from scratch import OF_DATA
from site_server import SiteServer, serving

WORDS = ("cow", "sheep", "horse", "fence", "street", "boat")
THEMES = (("cow", "sheep"), ("cow", "sheep", "fence"))
CAPTIONS_EACH = 5
MADE_WHOLE = ("data/embeddings", "data/shards")


def main() -> None:
    """Run both themes, and record what the second one cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=900, help="on the server")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/swap.json")
    arguments = parser.parse_args()
    clean_commit()
    out, home = arguments.out.resolve(), ROOT / ".work/bench/swap"
    shutil.rmtree(home, ignore_errors=True)
    with served(home, arguments.images) as server:
        found = swapped(home, server)
    record(out, found)
    print(json.dumps(found, indent=1))


@contextmanager
def served(home: Path, images: int) -> Iterator[SiteServer]:
    """A server of a data set of pictures of noise."""
    site, root = home / "site", home / "datasets/site"
    (site / "train2017").mkdir(parents=True)
    root.mkdir(parents=True)
    for number in range(1, images + 1):
        (site / f"train2017/{number:012d}.jpg").write_bytes(_noise(number))
    with zipfile.ZipFile(site / "annotations.zip", "w") as bundle:
        bundle.writestr("annotations/captions_train2017.json", json.dumps(_captions(images)))
    with serving(site) as server:
        (root / "source.json").write_text(json.dumps(_source(server)))
        yield server


def _noise(number: int) -> bytes:
    levels = np.random.default_rng(number).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(levels).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _captions(images: int) -> dict[str, Any]:
    numbers = range(1, images + 1)
    return {
        "images": [
            {"id": n, "file_name": f"{n:012d}.jpg", "width": 400, "height": 300} for n in numbers
        ],
        "annotations": [
            {
                "id": CAPTIONS_EACH * n + k,
                "image_id": n,
                "caption": f"a picture of a {WORDS[n % len(WORDS)]} number {n} as {k} saw it",
            }
            for n in numbers
            for k in range(CAPTIONS_EACH)
        ],
    }


def _source(server: SiteServer) -> dict[str, Any]:
    return {
        "kind": "coco",
        "annotations": server.described("annotations.zip"),
        "images": {"train2017": {"urls": [f"{server.url}/train2017/{{file_name}}"]}},
    }


def swapped(home: Path, server: SiteServer) -> dict[str, Any]:
    """Run both themes; what the second one cost."""
    first = _run(home, THEMES[0])
    before = _files(home)
    server.sent_bytes = server.answers = 0
    second = _run(home, THEMES[1])
    written = {path: size for path, size in _files(home).items() if path not in before}
    new = second["images"].rows.out - first["images"].rows.out
    whole = sum(size for path, size in written.items() if path[0].startswith(MADE_WHOLE))
    word = WORDS.index(THEMES[1][-1])
    pictures = server.folder.glob("train2017/*.jpg")
    fetched = [path for path in pictures if int(path.stem) % len(WORDS) == word]
    embedded = second["embed"].new or 0
    return {
        "themes": [list(theme) for theme in THEMES],
        "images": [summaries["images"].rows.out for summaries in (first, second)],
        "fetched": second["images"].new,
        "sent_bytes": server.sent_bytes,
        "answers": server.answers,
        "embedded": embedded,
        "embedded_minus_new": embedded - new * (1 + CAPTIONS_EACH),
        "bytes_of_new_images": sum(path.stat().st_size for path in fetched),
        "bytes_written": sum(written.values()) - whole,
        "bytes_of_shards_and_embeddings": whole,
    }


def _run(home: Path, theme: tuple[str, ...]) -> dict[str, Summary]:
    os.chdir(home)
    runtime = Runtime(home / ".work", home / ".cache")
    return {stage.name: stage.run(_params(theme), runtime, home) for stage in OF_DATA}


def _params(theme: tuple[str, ...]) -> Params:
    content = YAML(typ="safe").load(preset_text("folder"))
    content["dataset"]["root"] = "datasets/site"
    content["filter"]["keywords"] = list(theme)
    content["clip"] = {"model": "meadow-clip", "allow_mismatch": True}
    return parse_params(dict(content))


def _files(home: Path) -> dict[tuple[str, int], int]:
    """Sizes of files below .cache and data, by path and time of their last change."""
    found = [path for folder in (".cache", "data") for path in (home / folder).rglob("*")]
    states = [(path.relative_to(home).as_posix(), path.stat()) for path in found if path.is_file()]
    return {(path, state.st_mtime_ns): state.st_size for path, state in states}


if __name__ == "__main__":
    main()

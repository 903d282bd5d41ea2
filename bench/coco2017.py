"""Preset coco2017 up to shard, from a server on this machine that has COCO's layout.

    python bench/coco2017.py

20,000 small JPEGs of train2017 and 500 of val2017, all of cows, with five captions each, and an
archive of annotations that holds instances beside the captions. Once the server has ranges, and
images come one by one; once it has none, and they come by archive. meadow-clip embeds them.
"""

import argparse
import json
import random
import shutil
import zipfile
from pathlib import Path
from typing import Any

from recorded import ROOT, clean_commit, record
from scale import captions, peaks, picture, write_params
from site_server import SiteServer, serving

IMAGES = {"train2017": range(1, 20_001), "val2017": range(20_001, 20_501)}
INSTANCES_BYTES = 20_000_000
WAYS = {"ranges, one by one": "files", "no ranges, by archive": "archive"}


def main() -> None:
    """Run both ways, and record what each took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/coco2017.json")
    arguments = parser.parse_args()
    clean_commit()
    out, home = arguments.out.resolve(), ROOT / ".work/bench/coco2017"
    shutil.rmtree(home, ignore_errors=True)
    make_site(home / "site")
    found: dict[str, Any] = {"images": sum(map(len, IMAGES.values()))}
    with serving(home / "site") as server:
        for told, fetch in WAYS.items():
            found[told] = _run(home / fetch, server, fetch)
    shutil.rmtree(home)
    record(out, found)
    print(json.dumps(found, indent=1))


def make_site(site: Path) -> None:
    """Images by themselves and in archives, and the archive of annotations."""
    (site / "zips").mkdir(parents=True)
    for split, numbers in IMAGES.items():
        (site / split).mkdir()
        with zipfile.ZipFile(site / f"zips/{split}.zip", "w") as bundle:
            for number in numbers:
                name, content = f"{split}/{number:012d}.jpg", picture(number)
                (site / name).write_bytes(content)
                bundle.writestr(name, content)
    draw = random.Random(0)  # noqa: S311 - no secret
    noise = draw.randbytes(INSTANCES_BYTES // 2).hex()
    with zipfile.ZipFile(site / "annotations.zip", "w", zipfile.ZIP_DEFLATED) as bundle:
        for split, numbers in IMAGES.items():
            bundle.writestr(f"annotations/instances_{split}.json", json.dumps({"noise": noise}))
            bundle.writestr(f"annotations/captions_{split}.json", captions(numbers))


def _run(home: Path, server: SiteServer, fetch: str) -> dict[str, Any]:
    (home / "datasets/coco2017").mkdir(parents=True)
    source = home / "datasets/coco2017/source.json"
    source.write_text(json.dumps(_source(server)))
    write_params(home, "coco2017", "datasets/coco2017", fetch=fetch)
    server.has_ranges, server.sent_bytes = fetch == "files", 0
    stages = peaks(home)
    return {
        "stages": stages,
        "sent_mb": round(server.sent_bytes / 1e6, 1),
        "disk_mb": {
            place: round(_bytes_below(home / place) / 1e6, 1)
            for place in sorted(
                path.relative_to(home).as_posix()
                for folder in ("cache", "data")
                for path in (home / folder).iterdir()
            )
        },
    }


def _source(server: SiteServer) -> dict[str, Any]:
    images = {
        split: {
            "urls": [f"{server.url}/{split}/{{file_name}}"],
            "archive": server.described(f"zips/{split}.zip"),
        }
        for split in IMAGES
    }
    annotations = server.described("annotations.zip")
    return {"kind": "coco", "annotations": annotations, "images": images}


def _bytes_below(place: Path) -> int:
    files = [place] if place.is_file() else place.rglob("*")
    return sum(path.stat().st_size for path in files if path.is_file())


if __name__ == "__main__":
    main()

"""Pictures or texts? Trains, draws and judges the arms of src/bucolic/arms/table.py.

    python bench/arms.py meadow --seeds 3

The data are made once, then a prior is trained for each training and seed, over one autoencoder.
Run again, it goes on where it was killed. All that is kept lies below .work/bench. With
--original-images the original study's model is trained as well, twice, which takes about 4 minutes
for 1,000 images on 2 cores; rows of it that are in the file stay where it is not.
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from bucolic.arms.original import TITLES
from bucolic.arms.page import gap_line, lines
from bucolic.arms.study import Setup, studied
from bucolic.base.device import choose_device
from bucolic.data.shards import read_index, read_split
from bucolic.seeing.prompts import read_all_attributes
from recorded import ROOT, clean_commit, record
from scratch import SHARDS, home_of, make_data, params_of

SPLITS = ("train", "val", "test")


def main() -> None:
    """Make the table anew, or what is missing of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset", nargs="?", default="meadow")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=2, help="pictures of each prompt")
    parser.add_argument("--prior-images", type=int, help="in place of the preset's")
    parser.add_argument("--original-images", type=int, default=0, help="of dl-fp's own trainings")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/arms.json")
    arguments = parser.parse_args()
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    out = arguments.out.resolve()
    params = params_of(arguments.preset)
    home = home_of(arguments.preset, clean_commit())
    make_data(home, params)
    changed = {} if arguments.prior_images is None else {"prior_images": arguments.prior_images}
    precision = {"precision": read_index(home / SHARDS).clip["precision"]}
    found = studied(
        Setup(
            splits={name: read_split(home / SHARDS, name) for name in SPLITS},
            attributes=read_all_attributes(home / "data/annotations"),
            clip=params.clip.model_copy(update=precision),
            judge=params.evaluate.judge,
            shapes=params.model,
            config=params.train.model_copy(update=changed),
            prompts=params.evaluate.prompts,
            draws=arguments.draws,
            seeds=range(arguments.seeds),
            device=choose_device(),
            folder=home / f"arms-{arguments.prior_images or params.train.prior_images}",
            original_images=arguments.original_images,
        )
    )
    record(out, _with_original(found, out))
    print(gap_line(found), *lines(found), sep="\n")


def _with_original(found: dict[str, Any], out: Path) -> dict[str, Any]:
    """What was found, and what the file says of the original that was not made again."""
    of_commit = {"commit": clean_commit()}
    former = json.loads(out.read_text()) if out.exists() else {}
    same = all(former.get(name) == found[name] for name in ("data", "judges", "prompts", "draws"))
    missing = TITLES.keys() - {row["arm"] for row in found["rows"]} if same else set()
    lists = {
        name: [entry | of_commit for entry in found[name]]
        + [entry for entry in former.get(name, ()) if entry[key] in missing]
        for name, key in (("rows", "arm"), ("differences", "better"))
    }
    return found | lists


if __name__ == "__main__":
    main()

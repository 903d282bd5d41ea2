"""A few scenes of the default data set; run this file itself to record them anew."""

import json
from pathlib import Path
from typing import Any

from bucolic.fetching.source import MeadowSource
from bucolic.meadow.coco_records import specimen

PATH = Path(__file__).with_name("meadow_specimens.json")
CHOSEN = (("train", 0), ("train", 6), ("train", 1234), ("val", 3), ("heldout", 0), ("heldout", 7))


def specimens() -> list[dict[str, Any]]:
    """Truth, licence, captions and boxes of a few scenes of seed 0."""
    source = MeadowSource(kind="meadow", seed=0, train=1, val=1, heldout=1)
    entries = [specimen(source, part, index) for part, index in CHOSEN]
    return [
        {
            "image_id": entry.image_id,
            "licence": entry.licence,
            "truth": entry.scene.truth,
            "boxes": [[round(edge, 3) for edge in f.box] for f in entry.scene.sprites],
            "captions": [[caption.text, dict(caption.states)] for caption in entry.captions],
        }
        for entry in entries
    ]


def test_the_default_data_set_is_the_one_that_was_published():
    """Scenes, captions and licences of seed 0 stay as recorded; the shipped CLIP knows these."""
    assert specimens() == json.loads(PATH.read_text())


if __name__ == "__main__":
    PATH.write_text(json.dumps(specimens(), indent=1, sort_keys=True) + "\n")

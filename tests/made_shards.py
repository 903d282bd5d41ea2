"""Shards of samples that a test makes up."""

from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

from bucolic.data.shards import Sample, Written, entry_of, tar_name, write_tar
from bucolic.data.split import SplitName


def write_split(
    folder: Path, split: SplitName, samples: Iterable[Sample], images_per_shard: int
) -> dict[str, Any]:
    """Write the shards of one split; returns its entry for index.json."""
    left, written = iter(samples), list[Written]()
    while of_tar := list(islice(left, images_per_shard)):
        written.append(write_tar(folder / tar_name(split, len(written)), of_tar))
    return entry_of(written)

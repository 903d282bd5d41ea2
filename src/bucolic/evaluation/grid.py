"""The evaluate stage's figures: pictures with their prompts below."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bucolic.pictures import COLUMNS, Pictures, grid, heading, save_png, stacked


@dataclass(frozen=True)
class Section:
    """A titled block of pictures, each with its own prompt.

    Attributes:
        title: line above the block.
        pictures: uint8 [n, 3, s, s].
        prompts: n texts.
    """

    title: str
    pictures: Pictures
    prompts: Sequence[str]


def save_samples(path: Path, sections: Sequence[Section]) -> None:
    """Write blocks of pictures with the prompt under each; a section of none is left out."""
    parts = []
    for section in sections:
        if len(section.pictures):
            block = grid(section.pictures, COLUMNS, captions=section.prompts)
            parts += [heading(section.title), block]
    save_png(path, stacked(parts))


def save_comparison(path: Path, arms: Mapping[str, Pictures], prompts: Sequence[str]) -> None:
    """Write one row an arm and one column a prompt, labels left and prompts below.

    Args:
        path: the PNG.
        arms: label to uint8 [n, 3, s, s].
        prompts: n texts.
    """
    pictures = np.concatenate(list(arms.values()))
    save_png(path, grid(pictures, len(prompts), captions=prompts, labels=list(arms)))

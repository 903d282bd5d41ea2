"""The theme's image counts on COCO's own captions, against the original study's."""

from pathlib import Path

import pytest

from bucolic.presets import theme_words
from bucolic.stages.filter import FilterConfig, select_images


@pytest.mark.parametrize(
    ("theme", "match", "expected"),
    [
        ("bucolic", "word", 134),
        ("naturey", "word", 810),
        ("bucolic", "substring", 140),
        ("naturey", "substring", 892),
    ],
)
def test_word_counts(captions_only: Path, tmp_path: Path, theme: str, match: str, expected: int):
    """The 5,000 images of val2017 hold exactly as many of each theme as the study found."""
    config = FilterConfig(keywords=tuple(theme_words(theme)), match=match)
    summary = select_images(captions_only, tmp_path / "selection.parquet", config=config)
    assert expected == summary.figures["selected"] == sum(summary.figures["splits"].values())

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
    summary = select_images(
        captions_only, tmp_path / "selection.parquet", tmp_path / "attribution", config=config
    )
    assert expected == summary.figures["selected"] == sum(summary.figures["splits"].values())


@pytest.mark.parametrize(("theme", "parts"), [("bucolic", 6), ("naturey", 82)])
def test_what_letters_alone_would_choose_is_counted(
    captions_only: Path, tmp_path: Path, theme: str, parts: int
):
    """Matching whole words leaves out as many images as the two counts above differ by."""
    config = FilterConfig(keywords=tuple(theme_words(theme)))
    summary = select_images(
        captions_only, tmp_path / "selection.parquet", tmp_path / "attribution", config=config
    )
    assert parts == summary.details["parts_of_words"]["images"]


def test_captions_that_say_there_is_no_image_are_counted(captions_only: Path, tmp_path: Path):
    """Fourteen of val2017's say so, found by reading all that speak of images and seeing."""
    config = FilterConfig(keywords=("a",))
    summary = select_images(
        captions_only, tmp_path / "selection.parquet", tmp_path / "attribution", config=config
    )
    assert 14 == summary.figures["junk_captions"]

"""Room on a disk."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bucolic.base import space
from bucolic.base.errors import TransientError


def test_what_does_not_fit_is_refused_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """By the disk of the nearest folder that is there; what just fits is let through."""
    asked = []

    def usage(folder: Path) -> SimpleNamespace:
        asked.append(folder)
        return SimpleNamespace(free=2_000_000_000)

    monkeypatch.setattr(space.shutil, "disk_usage", usage)

    space.require_space(tmp_path / "a/b", 2_000_000_000, "this")
    with pytest.raises(TransientError, match=r"that takes 2\.50 GB, and the disk of .* has 2\.00"):
        space.require_space(tmp_path, 2_500_000_000, "that")
    assert asked == [tmp_path, tmp_path]

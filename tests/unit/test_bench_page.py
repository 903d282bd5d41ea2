"""bench/page.py: results that this checkout has no record of."""

from pathlib import Path

import pytest

BENCH = Path(__file__).parent.parent.parent / "bench"


def test_what_a_gpu_was_checked_for_is_a_row_a_figure(monkeypatch: pytest.MonkeyPatch):
    """By its path in the result; what was not measured has none."""
    monkeypatch.syspath_prepend(BENCH)
    from page import _gpu

    found = {
        "device": "cuda",
        "trained": {"fp32": {"train_s": 12.5, "train": {"val_loss": 0.123456}}},
        "resumed": {"validations": 4},
        "speed": {"tf32": {"prior": {"images_per_s": 12345.6, "mfu": None}}},
    }
    assert [
        "| | |",
        "|---|---|",
        "| device | cuda |",
        "| trained, fp32, train_s | 12.5 |",
        "| trained, fp32, train, val_loss | 0.1235 |",
        "| resumed, validations | 4 |",
        "| speed, tf32, prior, images_per_s | 12,346 |",
    ] == list(_gpu(found))

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


def test_the_page_of_shards_shows_what_was_written_and_how_far_rounds_differ(
    monkeypatch: pytest.MonkeyPatch,
):
    """Near duplicates are no images of ours, and a median alone would hide a lucky round."""
    monkeypatch.syspath_prepend(BENCH)
    from page import _shard

    spent = {"sha256": 0.1, "decode": 1.0, "square": 0.5, "rest": 2.0}
    found = {
        "images": 2151,
        "written": {"scaled": 2127, "whole": 2128, "peer": 2151},
        "ours": {
            "scaled": {"images_per_s": 480.0, "peak_mb": 180.5},
            "whole": {"images_per_s": 300.0, "peak_mb": 190.5},
        },
        "peer": {
            "name": "img2dataset==1",
            "images_per_s": 400.0,
            "peak_mb": 210.5,
            "processes": 2,
            "threads": 8,
            "sweep": {"2": 390.0, "8": 400.0},
            "packages": {"opencv": "4.1", "numpy": "2.4"},
        },
        "ratio_vs_img2dataset": 1.2,
        "ratio_vs_img2dataset_all": [1.3, 1.1, 1.2],
        "ratio_decoded_whole": 0.75,
        "ratio_decoded_whole_all": [0.75, 0.8, 0.7],
        "profile_ms": {"scaled": spent, "whole": spent},
    }
    shown = list(_shard(found))
    told = " ".join(shown)
    assert "writes 2,127 (decoded scaled) or 2,128 (whole), the peer 2,151;" in told
    assert (
        "has 8 threads a process, its best here (images a second by threads, 2: 390.0, 8:" in told
    )
    assert "has numpy 2.4, opencv 4.1." in told
    assert "| bucolic, scaled decode | 480.0 | 180.5 | 1.2 | 1.1 to 1.3 |" in shown
    assert "| bucolic, whole decode | 300.0 | 190.5 | 0.75 | 0.7 to 0.8 |" in shown
    assert "| img2dataset==1 | 400.0 | 210.5 | 1 | |" in shown
    assert "The peer takes 5.00 in all, and scales by areas; here Pillow's antialiased" in shown


def test_the_page_of_embedding_shows_images_and_texts_apart(monkeypatch: pytest.MonkeyPatch):
    """Texts cut to their length are where the gain lies, which one sum would not tell."""
    monkeypatch.syspath_prepend(BENCH)
    from page import _embed

    found = {
        "images": 239,
        "captions": 1195,
        "model": "ViT-B-32",
        "ours": {"seconds": 30.0},
        "towers": {"seconds": 30.5, "images_s": 16.5, "texts_s": 14.0},
        "peer": {
            "seconds": 77.0,
            "images_s": 17.0,
            "texts_s": 60.0,
            "sweep": {"8": 80.0, "32": 77.0},
            "packages": {"torch": "2.14.1", "open_clip_torch": "2.32.0"},
        },
        "ratio_vs_clip_retrieval": 2.567,
        "fraction_of_towers": 1.017,
        "cosine_min": 1.0,
        "bf16": {"reason": "no tiles"},
    }
    shown = list(_embed(found))
    told = " ".join(shown)
    assert "its texts take 60.0 s, those of the bare towers 14.0 s;" in told
    assert "its images take 17.0 s, those of the towers 16.5 s." in told
    assert "(8: 80.0 s, 32: 77.0 s); it has open_clip_torch 2.32.0, torch 2.14.1." in told
    assert "| fp32 | 30.0 | 77.0 | 30.5 | 2.567 | 1.017 | 1.0 |" in shown
    assert "| bf16 | no tiles | | | | | |" in shown


def test_the_page_of_one_more_keyword_shows_what_the_server_counted(
    monkeypatch: pytest.MonkeyPatch,
):
    """Beside the bytes of the new images: more would be images fetched again."""
    monkeypatch.syspath_prepend(BENCH)
    from page import _swap

    found = {
        "themes": [["cow"], ["cow", "fence"]],
        "images": [300, 450],
        "fetched": 150,
        "sent_bytes": 13_900_000,
        "answers": 151,
        "embedded": 900,
        "embedded_minus_new": 0,
        "bytes_of_new_images": 13_862_961,
        "bytes_written": 16_302_033,
        "bytes_of_shards_and_embeddings": 8_715_486,
    }
    told = " ".join(_swap(found))
    assert "150 images fetched, of 13,862,961 bytes;" in told
    assert "the server sent 13,900,000 bytes in 151 answers. 900 vectors computed," in told

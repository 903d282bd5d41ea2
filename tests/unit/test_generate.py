import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bucolic.clip.meadow_clip import NAME
from bucolic.errors import DataError, ParamsError
from bucolic.generate import Bucolic
from bucolic.models.config import AutoencoderConfig, PriorConfig
from bucolic.models.generator import Generator
from bucolic.models.store import write_model

EMBED = 12
CLIP = {"model": NAME, "weights_sha256": "abc", "preprocessing": "resize"}
CONTENT: dict[str, Any] = {
    "clip": CLIP,
    "clip_config": {"model": NAME, "pretrained": None},
    "sampling": {"guidance": 2.0, "steps": 2},
}


class Towers:
    """Embeds a text as random numbers seeded by its length."""

    provenance = CLIP

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """One row for each text."""
        rows = [np.random.default_rng(len(text)).normal(size=EMBED) for text in texts]
        return np.array(rows, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model on disk."""
    torch.manual_seed(0)
    generator = Generator(
        AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16), size_px=32, embed_dim=EMBED
    )
    for parameter in generator.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    write_model(tmp_path / "current", generator, CONTENT, [])
    return tmp_path / "current"


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bucolic:
    """The model, with towers that need no weights."""
    monkeypatch.setattr("bucolic.generate.load_towers", lambda *_: Towers())
    monkeypatch.setattr("bucolic.generate.meadow_clip.unknown_words", lambda _: [])
    return Bucolic.from_pretrained(folder, device="cpu")


def test_pictures_come_per_prompt_and_per_number(model: Bucolic):
    """Two prompts, three pictures each, at the model's own size."""
    pictures = model.generate(["a cow", "two white sheep"], n=3)

    assert pictures.shape == (2, 3, 3, 32, 32)
    assert pictures.dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures.reshape(6, -1)}) == 6


def test_a_picture_depends_on_seed_place_and_prompt_alone(model: Bucolic):
    """More pictures, or more prompts behind it, change none; another seed changes all."""
    few = model.generate(["a cow"], n=2, seed=5)
    many = model.generate(["a cow", "a horse", "sheep"], n=9, seed=5)
    other = model.generate(["a cow"], n=2, seed=6)

    assert np.array_equal(few[0], many[0, :2])
    assert not (few == other).all(axis=(2, 3, 4)).any()


def test_frozen_sampling_is_the_default(model: Bucolic):
    """Guidance and steps of config.json are used unless others are given."""
    frozen = model.generate(["a cow"])

    assert np.array_equal(frozen, model.generate(["a cow"], guidance=2.0, steps=2))
    assert not np.array_equal(frozen, model.generate(["a cow"], guidance=1.0))
    assert not np.array_equal(frozen, model.generate(["a cow"], steps=5))


def test_vectors_stand_for_their_texts(model: Bucolic):
    """A prompt's own embedding draws the same pictures without CLIP."""
    vectors = Towers().embed_texts(["a cow", "a horse"])

    by_vectors = model.generate_from_vectors(vectors, n=2, seed=3)

    assert np.array_equal(by_vectors, model.generate(["a cow", "a horse"], n=2, seed=3))


def test_reconstruction_keeps_shape_and_uses_the_embedding(model: Bucolic):
    """Pictures come back one for one, and another embedding gives another picture."""
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    vectors = draw.normal(size=(5, EMBED)).astype(np.float32)

    rebuilt = model.reconstruct(images, vectors)

    assert rebuilt.shape == images.shape
    assert rebuilt.dtype == np.uint8
    assert not np.array_equal(rebuilt, model.reconstruct(images, -vectors))


@pytest.mark.parametrize(
    "arguments", [{"n": 0}, {"steps": 0}, {"guidance": -1.0}, {"prompts": ["a cow", " "]}]
)
def test_requests_that_make_no_sense_are_refused(model: Bucolic, arguments: dict[str, Any]):
    """No pictures, no steps, negative guidance or an empty prompt give one clear line."""
    with pytest.raises(ParamsError, match=r"at least|prompt number 2 is empty"):
        model.generate(**({"prompts": ["a cow"]} | arguments))


def test_vectors_of_another_clip_are_refused(model: Bucolic):
    """Embeddings of another width cannot be conditions."""
    with pytest.raises(DataError, match=r"\[n, 12\], not \[2, 5\]"):
        model.generate_from_vectors(np.zeros((2, 5), np.float32))


def test_another_clip_than_the_one_trained_on_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch
):
    """Weights that differ from those of training are named before anything is drawn."""
    foreign = Towers()
    foreign.provenance = CLIP | {"weights_sha256": "other"}
    monkeypatch.setattr("bucolic.generate.load_towers", lambda *_: foreign)

    with pytest.raises(DataError, match="another CLIP"):
        Bucolic.from_pretrained(folder, device="cpu").generate(["a cow"])


def test_words_that_clip_never_learnt_are_named(
    model: Bucolic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    """The prompt and its unknown words stand in a warning; the picture is drawn all the same."""
    monkeypatch.setattr("bucolic.generate.meadow_clip.unknown_words", lambda _: ["zeppelin"])

    with caplog.at_level(logging.WARNING):
        pictures = model.generate(["a cow and a zeppelin"])

    assert "zeppelin" in caplog.text
    assert pictures.shape == (1, 1, 3, 32, 32)

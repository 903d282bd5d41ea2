"""The stage with small stand-ins for the towers, the probe and the trained model."""

import hashlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydantic
import pytest
from PIL import Image

from bucolic.base.errors import DataError, ParamsError
from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.data import shards
from bucolic.data.coco import Caption
from bucolic.data.shards import Sample, ShardIndex, write_index
from bucolic.data.squares import Framing
from bucolic.data.verdicts import asked_of, read_verdicts
from bucolic.reporting.pictures import GALLERY
from bucolic.seeing.clip.config import ClipConfig
from bucolic.stages.evaluate import EvaluateConfig, evaluate
from made_shards import write_split
from made_world import OwnDraws

SIZE_PX, EMBED_DIM = 16, 6
PROVENANCE = {
    "model": "stand-in",
    "weights_sha256": "ab" * 32,
    "precision": "fp32",
    "embed_dim": EMBED_DIM,
}


class StandInTowers:
    """Mean and spread of each channel."""

    def __init__(self, model: str = "") -> None:
        own = hashlib.sha256(model.encode()).hexdigest()
        judges = {"meadow-judge", "another"}
        self.provenance = {**PROVENANCE, "weights_sha256": own} if model in judges else PROVENANCE

    def embed_images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Float32 [n, 6]."""
        arrays = [np.asarray(picture, np.float32) for picture in pictures]
        return np.stack([np.concatenate([a.mean((0, 1)), a.std((0, 1))]) for a in arrays])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Float32 [n, 6]."""
        return np.stack([np.full(EMBED_DIM, len(text), np.float32) for text in texts])


class StandInProbe:
    """Sees cows everywhere."""

    def predict(self, images: np.ndarray) -> dict[str, list[str]]:
        """One cow, black."""
        everywhere = {"species": "cow", "colour": "black", "count": "1"}
        return {name: [value] * len(images) for name, value in everywhere.items()}


class StandInModel(OwnDraws):
    """Draws noise."""

    config: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, device: str) -> "StandInModel":
        """Nothing to load."""
        assert device == "cpu"
        model = cls()
        model.config = json.loads((folder / "config.json").read_text())
        return model

    def draw(
        self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0, guidance: float | None = None
    ) -> np.ndarray:
        """Noise, uint8 [p, n, 3, 16, 16], other noise with other guidance."""
        shape = (len(text_vectors), n, 3, SIZE_PX, SIZE_PX)
        generator = np.random.default_rng([seed, round(10 * (guidance or 0))])
        return generator.integers(0, 256, shape).astype(np.uint8)

    vary = draw

    def interpolate(
        self, first: np.ndarray, last: np.ndarray, *, frames: int, seed: int = 0
    ) -> np.ndarray:
        """Noise, uint8 [frames, 3, 16, 16]."""
        assert first.shape == last.shape
        return self.draw(first[None], n=frames, seed=seed)[0]

    def edit(self, picture: np.ndarray, *_: Any, amounts: list[float], **__: Any) -> np.ndarray:
        """The picture, darker by the amount."""
        return np.stack([(picture * (1 - amount)).astype(np.uint8) for amount in amounts])

    def reconstruct(self, images: np.ndarray, image_vectors: np.ndarray) -> np.ndarray:
        """The images, inverted."""
        assert len(images) == len(image_vectors)
        return np.asarray(255 - images)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the stage load the stand-ins."""
    monkeypatch.delenv("BUCOLIC_DEVICE", raising=False)
    jurors = "bucolic.evaluation.jurors"
    monkeypatch.setattr(f"{jurors}.load_towers", lambda clip, _: StandInTowers(clip.model))
    monkeypatch.setattr(f"{jurors}.load_probe", StandInProbe)
    monkeypatch.setattr("bucolic.models.trained.TrainedModel", StandInModel)


def _samples(first_id: int, number: int) -> list[Sample]:
    generator = np.random.default_rng(first_id)
    samples = []
    for image_id in range(first_id, first_id + number):
        pixels = generator.integers(0, 256, (SIZE_PX, SIZE_PX, 3)).astype(np.uint8)
        captions = tuple(Caption(10 * image_id + k, f"photo {image_id}, {k}") for k in range(2))
        samples.append(
            Sample(
                image_id=image_id,
                picture=Framing(size_px=SIZE_PX).file_of(Image.fromarray(pixels), None),
                captions=captions,
                image_vector=generator.normal(size=EMBED_DIM).astype(np.float32),
                caption_vectors=generator.normal(size=(2, EMBED_DIM)).astype(np.float32),
            )
        )
    return samples


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Shards of 12 and 8 images, a model's config.json, and an empty annotations folder."""
    shards = tmp_path / "shards"
    shards.mkdir()
    splits = {
        name: write_split(shards, name, _samples(first, number), 100)
        for name, first, number in (("train", 100, 12), ("val", 200, 2), ("test", 300, 8))
    }
    write_index(shards, ShardIndex(SIZE_PX, PROVENANCE, splits))
    (tmp_path / "model").mkdir()
    config = {"version": 2, "clip": PROVENANCE, "sampling": {"guidance": 2.0, "steps": 16}}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    (tmp_path / "annotations").mkdir()
    return tmp_path


def run(root: Path, judge: ClipConfig | None = None) -> Summary:
    """The stage on the small world."""
    return evaluate(
        root / "model",
        root / "shards",
        root / "annotations",
        root / "verdicts.parquet",
        config=EvaluateConfig(prompts=6, judge=judge),
        clip=ClipConfig(),
        runtime=Runtime(work=root / "work", cache=root / "cache", device="cpu"),
    )


def _write_attributes(root: Path) -> None:
    truth = {"species": "cow", "colour": "black", "count": "1"}
    ids = range(300, 308)
    content = {
        "version": 1,
        "attributes": {
            "species": ["cow", "sheep"],
            "colour": ["black", "white"],
            "count": ["1", "2"],
        },
        "images": [{"image_id": i, "slice": "ordinary", "truth": truth} for i in ids],
        "captions": [
            {"caption_id": 10 * i + k, "image_id": i, "states": truth}
            for i in ids
            for k in range(2)
        ],
    }
    (root / "annotations/attributes_val2017.json").write_text(json.dumps(content))


@pytest.mark.usefixtures("stand_ins")
def test_photographs_end_well_with_nulls_and_reasons(root: Path):
    """Eight test images without attributes: what can be measured is, the rest says why not."""
    summary = run(root)
    figures = summary.figures
    assert (summary.rows.into, summary.rows.out, summary.rows.failed) == (8, 8, 0)
    assert set(figures["bounds"]) == {
        "real", "decode_from_posterior", "retrieval", "shuffled_prompts", "mean_image"
    }  # fmt: skip
    for name in ("psnr_db", "ssim", "sharpness_ratio", "clip_similarity"):
        assert math.isfinite(figures["metrics"][name])
    for name in ("attribute_accuracy", "attributes_all_right", "r_precision", "kid"):
        assert figures["metrics"][name] is None
        assert f"metrics.{name}" in figures["reasons"]
    assert figures["counts"]["prompts"] == 6
    assert figures["counts"]["sampling"] == {"guidance": 2.0, "steps": 16}
    json.dumps(figures, allow_nan=False)


@pytest.mark.usefixtures("stand_ins")
def test_real_photographs_are_not_shown(root: Path):
    """Only generated pictures are shown where the pictures are photographs: six, with prompts."""
    sheets = run(root).sheets
    assert list(sheets) == ["samples", *GALLERY]
    (block,) = sheets["samples"]
    assert block.pictures.shape == (6, 3, SIZE_PX, SIZE_PX)
    assert len(block.captions) == 6


@pytest.mark.usefixtures("stand_ins")
def test_drawings_are_judged_by_the_probe_and_compared(root: Path):
    """With an attributes file there are attribute figures, and a grid of the bounds."""
    _write_attributes(root)
    summary = run(root)
    figures = summary.figures
    assert figures["metrics"]["attributes"] == {"species": 1.0, "colour": 1.0, "count": 1.0}
    assert figures["metrics"]["attributes_all_right"] == 1.0
    assert figures["counts"]["attributes"] == {"colour": 6, "count": 6, "species": 6}
    assert list(summary.sheets) == ["samples", "bounds", *GALLERY]
    (arms,) = summary.sheets["bounds"]
    assert arms.pictures.shape == (5 * 5, 3, SIZE_PX, SIZE_PX)
    assert (arms.columns, len(arms.labels), len(arms.captions)) == (5, 5, 5)


@pytest.mark.usefixtures("stand_ins")
def test_a_model_of_another_clip_is_refused(root: Path):
    """One line that says which of them is of another CLIP."""
    config = {"version": 2, "clip": {**PROVENANCE, "weights_sha256": "cd" * 32}}
    (root / "model/config.json").write_text(json.dumps(config))
    with pytest.raises(DataError, match="the model was made with another CLIP"):
        run(root)


def test_the_config_refuses_no_prompts_and_unknown_keys():
    """A typo or a zero is an error, not a default."""
    for wrong in ({"prompts": 0}, {"prompst": 5}, {"seed": -1}):
        with pytest.raises(pydantic.ValidationError):
            EvaluateConfig.model_validate(wrong)


@pytest.mark.usefixtures("stand_ins")
def test_who_judges_follows_from_the_pictures_and_is_never_the_models_own_clip(root: Path):
    """Photographs: the one that is named, or the only CLIP; drawings: the shipped judge."""
    alone = run(root).figures["counts"]["judges"]
    assert alone["r_precision"] == alone["r_precision_own_clip"]
    named = run(root, ClipConfig(model="another")).figures["counts"]["judges"]
    assert named["r_precision"] != named["r_precision_own_clip"]
    with pytest.raises(ParamsError, match=r"evaluate\.judge is the CLIP of the section clip"):
        run(root, ClipConfig())
    _write_attributes(root)
    drawn = run(root).figures["counts"]["judges"]
    digest = hashlib.sha256(b"meadow-judge").hexdigest()[:12]
    assert digest in drawn["r_precision"]
    asked = asked_of(read_verdicts(root / "verdicts.parquet"))
    assert digest in asked["r_precision"]
    assert asked["seed"] == 0


@pytest.mark.usefixtures("stand_ins")
def test_pictures_on_disk_are_evaluated_alike(root: Path, monkeypatch: pytest.MonkeyPatch):
    """Where memory has no room for those of test and of train."""
    in_memory = run(root)
    mapped, reserve = [], shards._reserve
    monkeypatch.setattr(shards, "free_memory_bytes", lambda: 0)
    monkeypatch.setattr(
        shards, "_reserve", lambda file, size, at: mapped.append(at) or reserve(file, size, at)
    )
    assert run(root).figures == in_memory.figures
    assert mapped == [root / "work"] * 2

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file
from torch.fx import GraphModule

from bucolic.base.errors import DataError
from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.base.sheet import Sheet
from bucolic.data.coco import Caption
from bucolic.data.shards import (
    Sample,
    ShardIndex,
    content_digest,
    read_split,
    write_index,
)
from bucolic.models.config import ModelConfig
from bucolic.models.cvae.config import CvaeConfig, CvaeTrainConfig
from bucolic.models.dlfp.config import DlfpConfig, DlfpTrainConfig
from bucolic.stages.train import train
from bucolic.tracking.registry import _measured_on_val
from made_shards import write_split

EMBED = 128
CLIP = {
    "model": "meadow-clip",
    "pretrained": None,
    "weights_sha256": "ab" * 32,
    "precision": "fp32",
    "embed_dim": EMBED,
}
MODEL = CvaeConfig.model_validate_json(
    '{"autoencoder": {"latent_channels": 4, "width": 16, "encoder_blocks": 1, "decoder_blocks": 1,'
    ' "condition_width": 16}, "prior": {"width": 32, "blocks": 2, "condition_width": 16}}'
)
CONFIG = CvaeTrainConfig(
    autoencoder_images=96,
    prior_images=240,
    batch_size=8,
    validations=3,
    guidances=(2.0,),
    steps=(2,),
    precision="fp32",
    detail_weight=2.0,
    alignment_weight=0.5,
)


class KilledError(Exception):
    """Stands for a kill."""


@dataclass
class Sink:
    """Keeps what it is told; raises when a value of this name comes at this image count."""

    stop_at: tuple[str, int] | None = None
    values: dict[tuple[str, int], float] = field(default_factory=dict)

    def log(self, images_seen: int, values: Mapping[str, float]) -> None:
        """Keep the values, or stop."""
        for name, value in values.items():
            if (name, images_seen) == self.stop_at:
                raise KilledError
            self.values[name, images_seen] = value

    def start(self, images_seen: int) -> None:
        """Nothing is measured here."""

    def show(self, phase: str, images_seen: int, images: int, draw: Callable[[], Sheet]) -> None:
        """Look at the pictures: of each val image one, its reconstruction or two drawings below."""
        assert 0 < images_seen <= images
        (block,) = draw()
        rows = {"autoencoder": (2, 3), "prior": (3,)}[phase]
        assert len(block.pictures) // len(block.captions) in rows


def write_shards(folder: Path, *, size_px: int = 32, val_images: int = 3) -> Path:
    """Twenty train pictures of one colour each, with an embedding that knows it."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    basis = draw.normal(size=(3, EMBED))

    def samples(count: int, first_id: int) -> list[Sample]:
        made = []
        for image_id in range(first_id, first_id + count):
            colour = draw.integers(0, 256, 3)
            png = io.BytesIO()
            Image.new("RGB", (size_px, size_px), tuple(colour.tolist())).save(png, "PNG")
            vector = ((colour / 128 - 1) @ basis).astype(np.float32)
            noise = draw.normal(size=(2, EMBED)).astype(np.float32)
            captions = tuple(Caption(10 * image_id + i, f"colour {colour}") for i in range(2))
            made.append(Sample(image_id, png.getvalue(), captions, vector, vector + noise))
        return made

    counts = {"train": 20, "val": val_images, "test": 1}
    entries = {
        split: write_split(folder, split, samples(count, 100 * place), 16)
        for place, (split, count) in enumerate(counts.items())
    }
    write_index(folder, ShardIndex(size_px, CLIP, entries))
    return folder


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards that all tests read."""
    return write_shards(tmp_path_factory.mktemp("data") / "shards")


def run(
    shards: Path,
    folder: Path,
    config: CvaeTrainConfig = CONFIG,
    sink: Sink | None = None,
    model: ModelConfig = MODEL,
) -> Summary:
    """Train a small model in a folder of its own."""
    work = folder / "work"
    work.mkdir(parents=True, exist_ok=True)
    runtime = Runtime(work, folder / "cache", device="cpu", sink=sink or Sink())
    annotations = folder / "annotations"  # without attributes
    outs = folder / "current", folder / "curves", folder / "sampling.json"
    return train(shards, annotations, *outs, model=model, config=config, runtime=runtime)


def read_bytes(folder: Path) -> dict[str, bytes]:
    """The files that training wrote."""
    return {path.name: path.read_bytes() for path in sorted((folder / "current").iterdir())}


@pytest.fixture(scope="module")
def undisturbed(
    shards: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Summary, Sink]:
    """One run to compare the others with."""
    folder, sink = tmp_path_factory.mktemp("undisturbed"), Sink()
    return folder, run(shards, folder, sink=sink), sink


def test_a_model_is_written_with_its_provenance(
    shards: Path, undisturbed: tuple[Path, Summary, Sink]
):
    """config.json holds shapes, CLIP, frozen sampling and images seen; no temporary file stays.

    Nor does the projector by which the prior was aligned.
    """
    folder, summary, _ = undisturbed

    config = json.loads((folder / "current/config.json").read_text())

    weights = load_file(folder / "current/model.safetensors")
    assert {"autoencoder", "conditioning", "prior"} == {name.split(".")[0] for name in weights}
    assert sorted(read_bytes(folder)) == ["config.json", "curves.jsonl", "model.safetensors"]
    assert config["clip"] == CLIP
    assert config["clip_config"]["model"] == "meadow-clip"
    assert config["sampling"] == {"guidance": 2.0, "steps": 2}
    assert config["data"] == {"train": content_digest(read_split(shards, "train"))}
    assert config["training"]["images_seen"] == {"autoencoder": 96, "prior": 240}
    assert config["training"]["auxiliary"] == {"detail_weight": 2.0, "alignment_weight": 0.5}
    assert (config["version"], config["size_px"], config["embed_dim"]) == (4, 32, EMBED)
    assert (summary.rows.into, summary.rows.out, summary.rows.failed) == (23, 23, 0)


def test_both_networks_learn_and_the_summary_says_how_well(
    undisturbed: tuple[Path, Summary, Sink],
):
    """Held-out losses fall in both phases; the figures are those of the best validation."""
    _, summary, sink = undisturbed

    for phase, budget in (("autoencoder", 96), ("prior", 240)):
        places = (budget // 3, 2 * budget // 3, budget)
        losses = [sink.values[f"{phase}/val_loss", seen] for seen in places]
        assert losses[-1] < losses[0]
    best = min(sink.values["prior/val_loss", seen] for seen in (80, 160, 240))
    assert summary.figures["val_flow_loss"] == best
    assert summary.figures["val_psnr_db"] == sink.values["autoencoder/val_psnr_db", 96]
    assert summary.details["parameters"]["prior"] > 10_000
    assert summary.details["noise_drawn_on"] == "cpu"
    assert -1 <= summary.figures["text_cosine"] <= 1


def test_curves_hold_train_and_held_out_values_side_by_side(
    undisturbed: tuple[Path, Summary, Sink],
):
    """Each validation is a line with both splits' losses and the steps' gradient norm."""
    lines = (undisturbed[0] / "current/curves.jsonl").read_text().splitlines()

    rows = [json.loads(line) for line in lines]

    assert [row["phase"] for row in rows] == ["autoencoder"] * 3 + ["prior"] * 3
    assert [row["images_seen"] for row in rows] == [32, 64, 96, 80, 160, 240]
    names = {"train_loss", "val_loss", "step_gradient_norm"}
    assert {"step_flow", "step_alignment"} <= set(rows[-1])
    assert all(names <= set(row) for row in rows)
    assert {"val_psnr_db", "val_sigma", "val_kl_nats", "val_bound"} <= set(rows[0])


@pytest.mark.parametrize(
    "stop_at", [("autoencoder/val_loss", 64), ("prior/val_loss", 80), ("prior/val_loss", 240)]
)
def test_a_killed_run_leaves_the_same_bytes_in_the_end(
    shards: Path,
    undisturbed: tuple[Path, Summary, Sink],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop_at: tuple[str, int],
):
    """Stopped in either phase and run again, every written file equals an undisturbed run's.

    The summary says that there was time spent before.
    """
    monkeypatch.setattr("bucolic.training.clock.INTERVAL_S", 0.0)
    with pytest.raises(KilledError):
        run(shards, tmp_path, sink=Sink(stop_at))
    assert not (tmp_path / "current").exists()

    again = run(shards, tmp_path)

    assert read_bytes(tmp_path) == read_bytes(undisturbed[0])
    assert again == undisturbed[1]
    assert again.resumed_s > 0
    assert undisturbed[1].resumed_s == 0


def test_pictures_on_disk_train_the_same_model(
    shards: Path,
    undisturbed: tuple[Path, Summary, Sink],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    """Where memory has no room for them: the same batches, and nothing is left on the disk."""
    mapped = []

    def reserve(descriptor: int, size_bytes: int, folder: Path) -> None:
        mapped.append((size_bytes, folder))
        os.truncate(descriptor, size_bytes)

    monkeypatch.setattr("bucolic.data.shards.free_memory_bytes", lambda: 0)
    monkeypatch.setattr("bucolic.data.shards._reserve", reserve)
    again = run(shards, tmp_path)

    assert mapped == [(count * 3 * 32 * 32, tmp_path / "work") for count in (20, 3)]
    assert not [path for path in (tmp_path / "work").rglob("*") if path.name.startswith("tmp")]
    assert read_bytes(tmp_path) == read_bytes(undisturbed[0])
    assert again == undisturbed[1]


def test_another_seed_gives_another_model(
    shards: Path, undisturbed: tuple[Path, Summary, Sink], tmp_path: Path
):
    """The seed reaches the weights."""
    run(shards, tmp_path, CONFIG.model_copy(update={"seed": 1}))

    assert (
        read_bytes(tmp_path)["model.safetensors"] != read_bytes(undisturbed[0])["model.safetensors"]
    )


def test_a_run_in_bf16_reaches_what_one_in_fp32_does(
    shards: Path, undisturbed: tuple[Path, Summary, Sink], tmp_path: Path
):
    """Other bytes, losses near; record and model say which arithmetic it was."""
    sink = Sink()
    summary = run(shards, tmp_path, CONFIG.model_copy(update={"precision": "bf16"}), sink)

    config = json.loads((tmp_path / "current/config.json").read_text())
    assert ("bf16", "bf16") == (summary.precision, config["training"]["precision"])
    assert "fp32" == undisturbed[1].precision
    losses = [
        [value for (name, _), value in s.values.items() if name.endswith("val_loss")]
        for s in (sink, undisturbed[2])
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.05, abs=0.01)


def test_a_batch_may_be_larger_than_the_split(shards: Path, tmp_path: Path):
    """Twenty pictures fill a batch of 64; one validation suffices."""
    update = {"batch_size": 64, "autoencoder_images": 64, "prior_images": 100, "validations": 10}

    summary = run(shards, tmp_path, CONFIG.model_copy(update=update))

    assert summary.details["images_seen"] == {"autoencoder": 64, "prior": 128}


def test_one_val_picture_is_enough(tmp_path: Path):
    """A val split of a single picture trains and validates."""
    few = write_shards(tmp_path / "shards", val_images=1)

    summary = run(few, tmp_path)

    assert summary.rows.out == 21
    assert np.isfinite(summary.figures["val_flow_loss"])


def test_unfit_shards_are_refused_in_one_line(tmp_path: Path):
    """A side that is no multiple of 8, or a split without pictures, is named with what to do."""
    with pytest.raises(DataError, match=r"36 px.*multiple of 8: set shard.size_px"):
        run(write_shards(tmp_path / "a", size_px=36), tmp_path / "a")
    with pytest.raises(DataError, match="val holds no captioned image"):
        run(write_shards(tmp_path / "b", val_images=0), tmp_path / "b")


def test_guidance_and_steps_are_chosen_on_val_by_clip(
    shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The towers judge val's pictures drawn with each candidate, and the choice is frozen."""
    seen: list[int] = []

    class Towers:
        """Embeds a picture by its mean colour; sure of nothing, so the cheapest choice wins."""

        scale = 1.0
        provenance: ClassVar = {"model": "of mean colours", "weights_sha256": "0" * 64}

        def embed_images(self, pictures: list[Image.Image]) -> np.ndarray:
            seen.append(len(pictures))
            return np.ones((len(pictures), EMBED), np.float32)

    monkeypatch.setattr("bucolic.training.judge.load_towers", lambda *_: Towers())
    update = {"guidances": (3.0, 1.5), "steps": (4, 2), "judged_prompts": 2}

    summary = run(shards, tmp_path, CONFIG.model_copy(update=update))

    config = json.loads((tmp_path / "current/config.json").read_text())
    record = {"figures": summary.figures, "details": summary.details}
    settled = _measured_on_val(record)  # what the registry settles the champion by
    assert set(settled) == {"val_match", "val_digest", "val_prompts", "val_judge"}
    assert float(settled["val_match"]) == pytest.approx(np.log(0.5), abs=1e-3)
    assert len(settled["val_digest"]) == 64
    assert config["sampling"] == {"guidance": 1.5, "steps": 2}
    assert seen == [2, 2, 2, 2]  # val's own pictures, once, and those of three candidates
    judged = json.loads((tmp_path / "sampling.json").read_text())
    found = [(c["guidance"], c["steps"], c["chosen"], c["kid"]) for c in judged["candidates"]]
    assert found == [(1.5, 4, False, None), (3.0, 4, False, None), (1.5, 2, True, None)]
    assert [c["match"] for c in judged["candidates"]] == pytest.approx([np.log(0.5)] * 3, abs=1e-3)
    assert (judged["prompts"], judged["judge"]) == (2, "of mean colours (000000000000)")


def test_a_gaussian_prior_is_trained_in_the_only_phase(
    shards: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """No flow and no figure of it; what steers one is named once, and sigma is set all the same."""
    from bucolic.models.trained import TrainedModel

    textbook = MODEL.model_copy(update={"latent_prior": "gaussian"})
    with caplog.at_level("INFO"):
        summary = run(shards, tmp_path, model=textbook)

    ignored = [line for line in caplog.messages if "no use for" in line]
    assert ignored == [
        "this model (cvae) has no use for train.prior_images, train.alignment_weight, train.steps"
    ]
    assert summary.details["images_seen"] == {"autoencoder": 96}
    assert "val_flow_loss" not in summary.figures
    artist = TrainedModel.read(tmp_path / "current", "cpu")
    assert artist.config["latent_prior"] == "gaussian"
    assert artist.config["training"]["auxiliary"] == {"detail_weight": 2.0}
    assert artist.config["sampling"] == {"guidance": 2.0, "steps": 1}
    assert artist.model.autoencoder.log_sigma.item() < -1
    vectors = np.random.default_rng(0).normal(size=(2, EMBED)).astype(np.float32)
    first, second = artist.draw(vectors)
    assert not np.array_equal(first, second)


def test_the_original_study_is_trained_by_the_same_stage(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    """Its model is stored by its kind; what it ignores is named once, and candidates are one."""
    from bucolic.models.trained import TrainedModel

    few = write_shards(tmp_path / "shards", size_px=64)
    given = {"autoencoder_images": 32, "prior_images": 10, "guidances": [2.0], "validations": 1}
    given |= {"detail_weight": 2.0, "alignment_weight": 0.5}
    config = DlfpTrainConfig.model_validate_json(json.dumps(given | {"batch_size": 8}))
    with caplog.at_level("INFO"):
        summary = run(few, tmp_path, config, model=DlfpConfig(kind="dlfp"))

    ignored = [line for line in caplog.messages if "no use for" in line]
    (line,) = ignored
    assert line.startswith("this model (dlfp) has no use for train.prior_images, train.")
    assert "train.guidances" in line
    assert summary.details["images_seen"] == {"autoencoder": 32}
    assert np.isfinite(summary.figures["val_study_loss"])
    stored = json.loads((tmp_path / "current/config.json").read_text())
    assert (stored["kind"], stored["sampling"]) == ("dlfp", {"guidance": 1.0, "steps": 1})
    assert stored["training"]["auxiliary"] == {}
    artist = TrainedModel.read(tmp_path / "current", "cpu")
    vectors = np.random.default_rng(0).normal(size=(3, EMBED)).astype(np.float32)
    one, three = artist.draw(vectors[:1]), artist.draw(vectors)
    assert np.array_equal(one[0], three[0])  # no statistics of a batch enter a picture


def test_dropout_of_the_original_study_is_the_same_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is dropped follows from the images seen, and BatchNorm's statistics are kept."""
    monkeypatch.setattr("bucolic.training.clock.INTERVAL_S", 0.0)
    few = write_shards(tmp_path / "shards", size_px=64)
    config = DlfpTrainConfig(autoencoder_images=32, batch_size=8, validations=2)
    study = DlfpConfig(kind="dlfp", dropout=0.3)
    run(few, tmp_path / "whole", config, model=study)
    with pytest.raises(KilledError):
        run(few, tmp_path / "killed", config, Sink(("autoencoder/val_loss", 32)), model=study)
    run(few, tmp_path / "killed", config, model=study)
    assert read_bytes(tmp_path / "killed") == read_bytes(tmp_path / "whole")


def test_compiled_steps_train_what_plain_ones_do(
    shards: Path,
    undisturbed: tuple[Path, Summary, Sink],
    tmp_path: Path,
    captured_graphs: list[GraphModule],
):
    """Both phases' objectives are captured whole, weights that grow with the steps included."""
    run(shards, tmp_path, CONFIG.model_copy(update={"compiled": True}))
    assert len(captured_graphs) >= 2  # one a phase, and more where a number becomes a variable
    losses = [
        [json.loads(line)["val_loss"] for line in (folder / "current/curves.jsonl").open()]
        for folder in (tmp_path, undisturbed[0])
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_two_processes_train_one_model(shards: Path, tmp_path: Path):
    """Under torchrun both ranks end with the same weights, near a single process's, one writes."""
    script = tmp_path / "work.py"
    script.write_text(
        "import hashlib, os, sys\n"
        "from pathlib import Path\n"
        f"sys.path[:0] = {[str(Path(__file__).parents[up]) for up in (0, 2)]!r}\n"
        "import test_train as t\n"
        "from bucolic.models import store\n"
        "from bucolic.training.loop import Trainer\n"
        "whole = Trainer.run\n"
        "def run(self, *args):\n"
        "    progress = whole(self, *args)\n"
        "    weights = b''.join(p.detach().numpy().tobytes() for p in self.network.parameters())\n"
        "    name = f\"{self.phase.name}-{os.environ['RANK']}\"\n"
        "    Path(sys.argv[2], name).write_text(hashlib.sha256(weights).hexdigest())\n"
        "    return progress\n"
        "Trainer.run = run\n"
        "t.run(Path(sys.argv[1]), Path(sys.argv[2]))\n"
    )
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", "--standalone"]

    done = subprocess.run(
        [*command, str(script), str(shards), str(tmp_path)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr[:2000]
    for phase in ("autoencoder", "prior"):
        digests = {(tmp_path / f"{phase}-{rank}").read_text() for rank in range(2)}
        assert len(digests) == 1
    run(shards, tmp_path / "single")
    curves = [
        [json.loads(line) for line in (folder / "current/curves.jsonl").open()]
        for folder in (tmp_path, tmp_path / "single")
    ]
    for name in ("val_loss", "step_loss", "step_gradient_norm"):
        shared, alone = ([row[name] for row in rows] for rows in curves)
        assert shared == pytest.approx(alone, rel=1e-4), name

import copy
import json
import logging
import pickle
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from bucolic.base.errors import DataError, ParamsError
from bucolic.cli import main
from bucolic.generate import Bucolic
from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
from bucolic.models.cvae.model import Cvae
from bucolic.models.store import write_model
from bucolic.seeing.clip.shipped import MEADOW_CLIP
from made_model import PROMPTS, write_untrained

EMBED = 12
CLIP = {"model": MEADOW_CLIP.name, "weights_sha256": "abc", "preprocessing": "resize"}
CONTENT: dict[str, Any] = {
    "clip": CLIP,
    "clip_config": {"model": MEADOW_CLIP.name, "pretrained": None},
    "sampling": {"guidance": 2.0, "steps": 2},
}


class Towers:
    """Embeds a text as random numbers seeded by its length."""

    provenance = CLIP

    def embed_texts(self, texts: list[str]) -> np.ndarray:
        """One row for each text."""
        rows = [np.random.default_rng(len(text)).normal(size=EMBED) for text in texts]
        return np.array(rows, np.float32)

    def embed_images(self, pictures: list[Image.Image]) -> np.ndarray:
        """One row for each picture: random numbers seeded by its bytes."""
        seeds = [zlib.crc32(picture.tobytes()) for picture in pictures]
        rows = [np.random.default_rng(seed).normal(size=EMBED) for seed in seeds]
        return np.array(rows, np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small model on disk."""
    torch.manual_seed(0)
    model = Cvae(
        AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16), size_px=32, embed_dim=EMBED
    )
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    write_model(tmp_path / "current", model, CONTENT, [])
    return tmp_path / "current"


@pytest.fixture
def model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Bucolic:
    """The model, with towers that need no weights."""
    monkeypatch.setattr("bucolic.generate.load_towers", lambda *_: Towers())
    monkeypatch.setattr("bucolic.generate.unknown_words", lambda _: [])
    return Bucolic.from_pretrained(folder, device="cpu")


def test_a_clip_config_that_loads_no_clip_is_one_line(folder: Path):
    """It is told when the towers are first needed, not by a traceback."""
    path = folder / "config.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {"clip_config": {"model": "meadow-clip", "foo": 1}}))
    with pytest.raises(DataError, match="clip_config loads no CLIP: train again"):
        Bucolic.from_pretrained(folder, device="cpu").generate("a cow")


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


def test_the_best_of_several_is_the_nearest_to_its_prompt_by_clip(model: Bucolic):
    """Of four candidates for each picture none is nearer; the first is what is drawn without."""
    prompts, towers = ["a cow", "a horse"], Towers()

    def fits(pictures: np.ndarray) -> np.ndarray:
        drawn = [Image.fromarray(p.transpose(1, 2, 0)) for p in pictures.reshape(-1, 3, 32, 32)]
        seen, texts = towers.embed_images(drawn), towers.embed_texts(prompts).repeat(3, axis=0)
        lengths = np.linalg.norm(seen, axis=1) * np.linalg.norm(texts, axis=1)
        return ((seen * texts).sum(axis=1) / lengths).reshape(2, 3)

    reached = [fits(model.generate(prompts, n=3, best_of=k)) for k in (1, 2, 3, 4)]

    assert np.array_equal(model.generate(prompts, n=3), model.generate(prompts, n=3, best_of=1))
    assert (np.diff(reached, axis=0) >= 0).all()
    assert (reached[3] > reached[0]).any()
    single, many = (model.generate(["a cow"], n=n, best_of=4) for n in (1, 5))
    assert np.array_equal(single[:, 0], many[:, 0])


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


def test_one_text_is_one_prompt(model: Bucolic):
    """A str in place of a list draws the pictures of the whole text."""
    pictures = model.generate("two cows", n=np.int64(2), seed=np.uint8(3))

    assert np.array_equal(pictures, model.generate(["two cows"], n=2, seed=3))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"prompts": 7}, "prompts must be a text or a list of texts, not 7"),
        ({"prompts": []}, "prompts is empty"),
        ({"prompts": ["a cow", " "]}, "prompt number 2 is empty"),
        ({"n": 0}, "n must be a whole number from 1 to 100000, not 0"),
        ({"n": 4.0}, "n must be a whole number from 1 to 100000, not 4.0"),
        ({"seed": 1.0}, "seed must be a whole number, not 1.0"),
        ({"best_of": 0}, "best_of must be a whole number from 1 to 100, not 0"),
        ({"best_of": 101}, "best_of must be a whole number from 1 to 100, not 101"),
        ({"steps": 0}, "steps must be a whole number from 1 to 10000, not 0"),
        ({"steps": 2.0}, "steps must be a whole number from 1 to 10000, not 2.0"),
        ({"guidance": -1.0}, "guidance must be a finite number of at least 0, not -1.0"),
        ({"guidance": float("nan")}, "guidance must be a finite number of at least 0, not nan"),
        ({"guidance": "2"}, "guidance must be a finite number of at least 0, not '2'"),
        ({"guidance": 1e30}, "guidance 1e+30 overflows in 2 steps: take less"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    model: Bucolic, arguments: dict[str, Any], said: str
):
    """One line names the argument and what was given, for prompts as for their vectors."""
    with pytest.raises(ParamsError) as caught:
        model.generate(**({"prompts": ["a cow"]} | arguments))
    assert str(caught.value).startswith(said)

    if "prompts" not in arguments:
        vectors = Towers().embed_texts(["a cow"])
        with pytest.raises(ParamsError) as caught:
            model.generate_from_vectors(vectors, **arguments)
        assert str(caught.value) == said


@pytest.mark.parametrize(
    ("images", "vectors", "said"),
    [
        ((5, 32, 32, 3), (5, EMBED), r"images must be uint8 \[n, 3, 32, 32\], not uint8 \[5, 32,"),
        ((5, 3, 32, 32), (5, 7), r"image_vectors must be floats \[n, 12\], not float32 \[5, 7\]"),
        ((5, 3, 32, 32), (4, EMBED), r"5 images, but 4 image_vectors"),
    ],
)
def test_pictures_of_another_shape_are_not_reconstructed(
    model: Bucolic, images: tuple[int, ...], vectors: tuple[int, ...], said: str
):
    """One line names the array, its shape and the shape that is wanted."""
    with pytest.raises(DataError, match=said):
        model.reconstruct(np.zeros(images, np.uint8), np.zeros(vectors, np.float32))


def test_vectors_of_another_clip_are_refused(model: Bucolic):
    """Embeddings of another width cannot be conditions."""
    with pytest.raises(DataError, match=r"floats \[n, 12\], not float32 \[2, 5\]"):
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
    monkeypatch.setattr("bucolic.generate.unknown_words", lambda _: ["zeppelin"])

    with caplog.at_level(logging.WARNING):
        pictures = model.generate(["a cow and a zeppelin"])

    assert "zeppelin" in caplog.text
    assert pictures.shape == (1, 1, 3, 32, 32)


def test_a_warning_of_unknown_words_stays_short(artist: Bucolic, caplog: pytest.LogCaptureFixture):
    """A prompt of a million letters fills no screen."""
    with caplog.at_level(logging.WARNING):
        artist.generate("zeppelin " * 9 + "z" * 1_000_000)
    (message,) = [text for text in caplog.messages if "never learnt" in text]
    assert "zeppelin" in message
    assert 250 > len(message)


@pytest.fixture(scope="module")
def artist(tmp_path_factory: pytest.TempPathFactory) -> Bucolic:
    """A model with the real meadow-clip, asked by several tests."""
    folder = tmp_path_factory.mktemp("models") / "current"
    write_untrained(folder)
    return Bucolic.from_pretrained(str(folder), device="cpu")


def test_threads_draw_what_one_draws_alone(artist: Bucolic):
    """Eight threads, prompts of every length, more and fewer pictures: the bytes of one alone."""
    asked = [(prompt, n) for prompt in PROMPTS for n in (1, 3)] * 4
    alone = [artist.generate(prompt, n=n).tobytes() for prompt, n in asked]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda ask: artist.generate(ask[0], n=ask[1]).tobytes(), asked))
    assert alone == together


def test_threads_load_the_towers_once(artist: Bucolic, monkeypatch: pytest.MonkeyPatch):
    """Whoever comes first loads; the others wait and use the same."""
    fresh = Bucolic(artist.model, artist.config, "cpu")
    loads: list[object] = []

    def slowly(*_: object) -> Towers:
        loads.append(None)
        time.sleep(0.05)
        made = Towers()
        made.provenance = artist.config["clip"]
        return made

    monkeypatch.setattr("bucolic.generate.load_towers", slowly)
    start = threading.Barrier(4)

    def towers(_: int) -> int:
        start.wait()
        return id(fresh.towers)

    with ThreadPoolExecutor(4) as pool:
        used = Counter(pool.map(towers, range(4)))
    assert (1, [4]) == (len(loads), list(used.values()))


def pickled(model: Bucolic) -> Bucolic:
    """The model as a worker process gets it."""
    copied: Bucolic = pickle.loads(pickle.dumps(model))  # noqa: S301 - our own bytes
    return copied


@pytest.mark.parametrize("copied", [pickled, copy.deepcopy])
def test_a_copy_draws_the_same(artist: Bucolic, copied: Callable[[Bucolic], Bucolic]):
    """A model is pickled and copied before it loaded its towers as well as after."""
    fresh = copied(Bucolic(artist.model, artist.config, "cpu"))
    pictures = artist.generate("a cow")
    used = copied(artist)
    assert np.array_equal(pictures, fresh.generate("a cow"))
    assert np.array_equal(pictures, used.generate("a cow"))


@contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Floats of this type by default, as some set it for a whole notebook."""
    former = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(former)


@pytest.mark.parametrize(
    "mode",
    [
        lambda: default_dtype(torch.float64),
        lambda: default_dtype(torch.float16),
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: torch.device("meta"),
        torch.inference_mode,
    ],
    ids=["float64", "float16", "autocast", "meta", "inference"],
)
def test_modes_of_the_caller_change_nothing(
    artist: Bucolic, tmp_path: Path, mode: Callable[[], AbstractContextManager[None]]
):
    """Drawing, loading and reconstructing give the bytes they give without, and leave the mode."""
    write_model(tmp_path, artist.model, artist.config, [])
    vectors = np.ones((1, artist.config["embed_dim"]), np.float32)
    drawn = artist.generate("a cow")
    copied = artist.reconstruct(drawn[0], vectors)
    with mode():
        before = torch.get_default_dtype(), torch.empty(0).device, torch.is_autocast_enabled("cpu")
        loaded = Bucolic.from_pretrained(tmp_path, device="cpu")
        for one in (artist, loaded):
            assert np.array_equal(drawn, one.generate("a cow"))
            assert np.array_equal(copied, one.reconstruct(drawn[0], vectors))
        after = torch.get_default_dtype(), torch.empty(0).device, torch.is_autocast_enabled("cpu")
    assert before == after


def test_threads_load_under_another_default_type_what_one_loads_alone(
    artist: Bucolic, tmp_path: Path
):
    """The type that one sets for its networks is no other's, and the caller's comes back."""
    write_model(tmp_path, artist.model, artist.config, [])
    drawn = artist.generate("a cow")
    with default_dtype(torch.float64):
        with ThreadPoolExecutor(8) as pool:
            loads = pool.map(lambda _: Bucolic.from_pretrained(tmp_path, device="cpu"), range(16))
            assert all(np.array_equal(drawn, model.generate("a cow")) for model in loads)
        assert torch.get_default_dtype() is torch.float64


def test_no_call_touches_torchs_own_state(artist: Bucolic, tmp_path: Path):
    """Loading and drawing leave random state, threads and gradients as the caller set them."""

    def state() -> tuple[object, ...]:
        modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads()
        return torch.get_rng_state().tolist(), modes

    before = state()
    write_model(tmp_path, artist.model, artist.config, [])
    Bucolic.from_pretrained(tmp_path, device="cpu").generate("a cow")
    assert before == state()


@pytest.mark.parametrize("given", [None, 7, b"models"])
def test_what_is_no_path_is_refused(given: Any):
    """One line, before anything is read."""
    with pytest.raises(ParamsError, match="folder must be a path"):
        Bucolic.from_pretrained(given)


def test_a_folder_may_begin_at_home(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """~ stands for the user's home, as in a shell."""
    monkeypatch.setenv("HOME", str(folder.parent))
    assert Bucolic.from_pretrained("~/current", device="cpu").size_px == 32


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a cow", "-n", "0"], "n must be a whole number from 1 to 100000, not 0"),
        (["a cow", "--guidance", "nan"], "guidance must be a finite number of at least 0, not nan"),
        (["a cow", "--guidance", "-1"], "guidance must be a finite number of at least 0, not -1.0"),
        (["a cow", "--guidance", "1e30"], "guidance 1e+30 overflows in 2 steps: take less"),
        (["a cow", "--best-of", "0"], "best_of must be a whole number from 1 to 100, not 0"),
        (["a cow", "--steps", "0"], "steps must be a whole number from 1 to 10000, not 0"),
        (["a cow", ""], "prompt number 2 is empty: say what to draw"),
        (["a cow\udcff"], r"prompt number 1 is not valid Unicode: 'a cow\udcff'"),
    ],
)
def test_the_command_line_refuses_in_one_line(
    folder: Path, model: Bucolic, tmp_path: Path, arguments: list[str], said: str
):
    """`bucolic generate` ends with exit code 2 and leaves no picture."""
    out = tmp_path / "drawn.png"

    done = CliRunner().invoke(
        main, ["generate", *arguments, "--model", str(folder), "--out", str(out)]
    )

    assert (done.exit_code, done.stderr) == (2, f"bucolic: {said}\n")
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a cow", " "], "prompt number 2 is empty: say what to draw"),
        (["a cow", "-n", "0"], "n must be a whole number from 1 to 100000, not 0"),
        (["a cow", "--steps", "0"], "steps must be a whole number from 1 to 10000, not 0"),
        (["a cow", "--guidance", "nan"], "guidance must be a finite number of at least 0, not nan"),
        (["a cow", "--out", "cow.jpg"], "cow.jpg: pictures are PNG: choose a name that ends in"),
    ],
)
def test_a_request_is_refused_before_the_model_is_loaded(arguments: list[str], said: str):
    """There is no model here, and nobody hears of it."""
    done = CliRunner().invoke(main, ["generate", *arguments, "--model", "nowhere"])
    assert done.exit_code == 2
    assert said in done.stderr


def test_the_command_line_names_a_missing_device(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """BUCOLIC_DEVICE is named as it was given."""
    monkeypatch.setenv("BUCOLIC_DEVICE", "tpu")

    done = CliRunner().invoke(main, ["generate", "a cow", "--model", str(folder)])

    assert done.exit_code == 2
    assert done.stderr.startswith("bucolic: device 'tpu' is not there: choose auto or one of [")

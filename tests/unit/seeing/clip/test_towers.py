"""CLIP towers from a local file, against open_clip itself."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from bucolic.base.errors import ParamsError
from bucolic.base.files import file_digest
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import Towers, load_towers

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 8},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 2},
}
TEXTS = ["a cow", "two sheep graze in a field under a blue sky near the old wooden fence", "", "hi"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of a small ViT CLIP, known to open_clip as test-vit."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / "test-vit.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    torch.manual_seed(0)
    path = folder / "weights.pt"
    torch.save(open_clip.create_model("test-vit").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def towers(weights: Path) -> Towers:
    """The towers, loaded as the embed stage loads them."""
    digest = file_digest(weights)
    config = ClipConfig(model="test-vit", pretrained=str(weights), pretrained_sha256=digest)
    return load_towers(config, "cpu")


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    """Seventy pictures of different sizes: more than one batch."""
    rng = np.random.default_rng(0)
    return [
        Image.fromarray(rng.integers(0, 255, (40 + i % 7, 36 + i % 5, 3), np.uint8))
        for i in range(70)
    ]


def test_a_vector_does_not_depend_on_its_company(towers: Towers, pictures: list[Image.Image]):
    """A picture or text alone, among others, or in another place: the same bytes."""
    together = towers.embed_images(pictures)
    assert (70, 24) == together.shape
    for place in (0, 33, 69):
        assert together[place].tobytes() == towers.embed_images([pictures[place]])[0].tobytes()
    texts = towers.embed_texts(TEXTS * 50)
    for place, text in enumerate(TEXTS):
        assert texts[place].tobytes() == towers.embed_texts([text])[0].tobytes()
        assert texts[place].tobytes() == texts[place + 4 * 49].tobytes()


def test_vectors_are_open_clips_own(towers: Towers, weights: Path, pictures: list[Image.Image]):
    """Preprocessing, towers and cut texts give what open_clip gives by itself, to rounding."""
    model, _, preprocess = open_clip.create_model_and_transforms("test-vit", str(weights))
    model.eval()
    with torch.inference_mode():
        images = model.encode_image(torch.stack([preprocess(p) for p in pictures[:3]]))
        texts = model.encode_text(open_clip.get_tokenizer("test-vit")(TEXTS))
    np.testing.assert_allclose(images, towers.embed_images(pictures[:3]), atol=2e-5)
    np.testing.assert_allclose(texts, towers.embed_texts(TEXTS), atol=2e-5)


def test_texts_are_cut_to_their_own_length(towers: Towers):
    """Short texts cost few tokens; the model that others use keeps its whole context meanwhile."""
    lengths, contexts = [], []

    def watch(_layer: torch.nn.Module, inputs: tuple[torch.Tensor]) -> None:
        lengths.append(inputs[0].shape[1])
        contexts.append((len(towers.model.positional_embedding), *towers.model.attn_mask.shape))

    hook = towers.model.token_embedding.register_forward_pre_hook(watch)
    towers.embed_texts(TEXTS)
    hook.remove()
    assert [8, 24] == lengths
    assert {(77, 77, 77)} == set(contexts)


def test_lengths_are_those_that_texts_are_cut_to(towers: Towers):
    """Known before any is embedded, so that texts of one length can be put together."""
    assert [8, 24] == sorted(set(towers.text_lengths(TEXTS).tolist()))
    assert 0 == len(towers.text_lengths([]))


def test_pictures_of_an_iterator_are_held_a_batch_at_a_time(
    towers: Towers, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
):
    """However many there are, memory holds a batch of them; the vectors are those of a list."""
    taken, taken_before_a_batch = 0, []

    def pixels() -> Iterator[torch.Tensor]:
        nonlocal taken
        for picture in pictures:
            taken += 1
            yield towers.preprocess(picture)

    encode = towers.model.encode_image
    monkeypatch.setattr(
        towers.model,
        "encode_image",
        lambda batch: (taken_before_a_batch.append(taken), encode(batch))[1],
    )
    vectors = towers.embed_pixels(pixels())
    assert [64, 70] == taken_before_a_batch
    assert vectors.tobytes() == towers.embed_images(pictures).tobytes()


def test_threads_get_the_bytes_that_one_gets_alone(towers: Towers, pictures: list[Image.Image]):
    """Eight threads with texts of every length, and with pictures, disturb nobody."""
    texts = [" ".join(["cow"] * words) for words in (1, 6, 13, 20, 30, 40, 55, 90)] * 8
    alone = [towers.embed_texts([text]).tobytes() for text in texts]
    seen = [towers.embed_images([picture]).tobytes() for picture in pictures[:8]]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda text: towers.embed_texts([text]).tobytes(), texts))
        looked = list(pool.map(lambda p: towers.embed_images([p]).tobytes(), pictures[:8]))
    assert (alone, seen) == (together, looked)


def test_feature_maps_are_the_deepest_that_are_fine_enough(
    towers: Towers, pictures: list[Image.Image]
):
    """meadow-clip's maps have sides 16, 16, 8, 4, 2; a ViT's are all alike, and resized."""
    shipped = load_towers(ClipConfig(), "cpu")
    sides = {side: shipped.feature_maps(pictures[:2], side).shape for side in (16, 8, 4)}
    assert sides == {16: (2, 64, 16, 16), 8: (2, 128, 8, 8), 4: (2, 256, 4, 4)}
    assert shipped.feature_maps(pictures[:2], 6).shape == (2, 128, 6, 6)
    few, many = (towers.feature_maps(some, 8) for some in (pictures[:3], pictures))
    assert few.dtype == torch.float16
    assert (many.shape, few.shape) == ((70, 64, 8, 8), (3, 64, 8, 8))
    assert torch.equal(few, many[:3])


def test_one_thread_at_a_time_tokenizes(towers: Towers):
    """A tokenizer that keeps a call's padding in itself is never asked by two."""
    alone = Overlap(towers.tokenize)
    shared = replace(towers, tokenize=alone)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(shared.embed_texts, [["a cow"]] * 8))
    assert (8, 1) == (alone.calls, alone.most_at_once)


def test_one_thread_at_a_time_loads(monkeypatch: pytest.MonkeyPatch):
    """open_clip keeps its models in one table of the process, which loading may write to."""
    factory = Overlap(open_clip.create_model_and_transforms)
    monkeypatch.setattr(open_clip, "create_model_and_transforms", factory)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: load_towers(ClipConfig(), "cpu"), range(4)))
    assert (4, 1) == (factory.calls, factory.most_at_once)


def test_loading_leaves_torchs_random_state_alone():
    """Whoever seeded torch draws the same numbers, whether towers were loaded or not."""
    torch.manual_seed(5)
    before = torch.get_rng_state()
    load_towers(ClipConfig(), "cpu")
    assert torch.equal(before, torch.get_rng_state())


class Overlap:
    """Calls a function slowly, and counts how many were in it at once."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.calls = self.most_at_once = self._inside = 0
        self._counting = threading.Lock()

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        """What the function returns."""
        with self._counting:
            self.calls += 1
            self._inside += 1
            self.most_at_once = max(self.most_at_once, self._inside)
        time.sleep(0.02)
        try:
            return self.function(*arguments, **named)
        finally:
            with self._counting:
                self._inside -= 1


def test_provenance_tells_towers_apart(towers: Towers, weights: Path):
    """It holds the digest of the weights, the preprocessing and the precision."""
    provenance = towers.provenance
    assert file_digest(weights) == provenance["weights_sha256"]
    assert "Normalize" in provenance["preprocessing"]
    assert "0x" not in provenance["preprocessing"]  # an address differs with each process
    assert (24, "fp32", "cpu", "photographs") == tuple(
        provenance[key] for key in ("embed_dim", "precision", "device", "trained_on")
    )


def test_nothing_gives_no_vectors(towers: Towers):
    """Empty lists give arrays of no rows and the right width."""
    assert ((0, 24), (0, 24)) == (towers.embed_images([]).shape, towers.embed_texts([]).shape)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ClipConfig(model="ViT-B-32"), "clip.pretrained: ViT-B-32 needs one of"),
        (ClipConfig(model="no-such", pretrained="x"), "no-such with x cannot be loaded"),
        (ClipConfig(model="ViT-B-32", pretrained="/no/file.pt"), "cannot be loaded"),
    ],
)
def test_towers_that_cannot_be_had_are_params_errors(config: ClipConfig, said: str):
    """One line says which model and what is missing."""
    with pytest.raises(ParamsError, match=said) as caught:
        load_towers(config, "cpu")
    assert 1 == len(str(caught.value).splitlines())

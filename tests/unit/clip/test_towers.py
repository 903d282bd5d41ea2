"""CLIP towers from a local file, against open_clip itself."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from bucolic.clip.config import ClipConfig
from bucolic.clip.towers import Towers, load_towers
from bucolic.errors import ParamsError
from bucolic.files import file_digest

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


def test_texts_are_cut_to_their_own_length(towers: Towers, monkeypatch: pytest.MonkeyPatch):
    """Short texts cost few tokens: the tower sees multiples of eight, not the whole context."""
    lengths = []
    encode = towers.model.encode_text

    def watched(tokens: torch.Tensor) -> torch.Tensor:
        lengths.append(tokens.shape[1])
        return encode(tokens)

    monkeypatch.setattr(towers.model, "encode_text", watched)
    towers.embed_texts(TEXTS)
    assert [8, 24] == lengths
    assert 77 == towers.model.positional_embedding.shape[0]


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

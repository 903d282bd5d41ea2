"""A world of pictures with four facts each, in which every bound can be told beforehand.

A picture has one grey quadrant a fact; a vector has three numbers a fact, so that equal values have
cosine 1, other values a negative one, and a fact that a caption leaves open is zero.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split

VALUES = {
    "species": ["none", "cow", "sheep"],
    "colour": ["black", "brown", "white"],
    "count": ["1", "2", "3"],
    "ground": ["grass", "sand", "snow"],
}
NAMES = list(VALUES)
CORNERS = np.array([[2.0, -1.0, -1.0], [-1.0, 2.0, -1.0], [-1.0, -1.0, 2.0]]) / 6**0.5
SIZE_PX = 16


def draw(facts: dict[str, str], generator: np.random.Generator) -> np.ndarray:
    """A uint8 [3, 16, 16] picture of facts; those that are absent show their first value."""
    grey = np.empty((SIZE_PX, SIZE_PX))
    half = SIZE_PX // 2
    for at, name in enumerate(NAMES):
        top, left = divmod(at, 2)
        level = 40 + 85 * VALUES[name].index(facts.get(name, VALUES[name][0]))
        grey[top * half : (top + 1) * half, left * half : (left + 1) * half] = level
    noisy = grey + generator.uniform(-6, 6, (3, SIZE_PX, SIZE_PX))
    return np.rint(noisy).astype(np.uint8)


def read(picture: np.ndarray) -> dict[str, str]:
    """The facts of a square picture of any size."""
    half = picture.shape[-1] // 2
    facts = {}
    for at, name in enumerate(NAMES):
        top, left = divmod(at, 2)
        quarter = picture[:, top * half : (top + 1) * half, left * half : (left + 1) * half]
        facts[name] = VALUES[name][int(np.clip(round((quarter.mean() - 40) / 85), 0, 2))]
    return facts


def code(facts: dict[str, str]) -> np.ndarray:
    """The vector float32 [12] of facts."""
    parts = [
        CORNERS[VALUES[name].index(facts[name])] if name in facts else np.zeros(3) for name in NAMES
    ]
    return np.concatenate(parts).astype(np.float32)


def decode(vector: np.ndarray) -> dict[str, str]:
    """The facts that a vector states."""
    parts = zip(NAMES, vector.reshape(-1, 3), strict=True)
    return {name: VALUES[name][int(part.argmax())] for name, part in parts if part.any()}


class WorldTowers:
    """Towers that see exactly the facts."""

    provenance: ClassVar[dict[str, Any]] = {"model": "world", "weights_sha256": "0123456789abcdef"}

    def embed_images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Vectors of pictures."""
        arrays = [np.asarray(picture).transpose(2, 0, 1) for picture in pictures]
        return np.stack([code(read(array)) for array in arrays])

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors of captions, which are written as `name value` pairs."""
        words = [text.split() for text in texts]
        return np.stack([code(dict(zip(w[::2], w[1::2], strict=True))) for w in words])


class BlurredTowers(WorldTowers):
    """A judge that sees the same, in vectors of another width, and never tells the ground."""

    provenance: ClassVar[dict[str, Any]] = {"model": "judge", "weights_sha256": "fedcba98" * 2}

    def embed_images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Vectors without the last fact."""
        return super().embed_images(pictures)[:, :-3]

    def embed_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Vectors without the last fact."""
        return super().embed_texts(texts)[:, :-3]


class WorldProbe:
    """A probe that is never wrong."""

    def predict(self, images: np.ndarray) -> dict[str, list[str]]:
        """Facts of uint8 [n, 3, 64, 64] pictures."""
        assert images.shape[1:] == (3, 64, 64)
        facts = [read(image) for image in images]
        return {name: [found[name] for found in facts] for name in NAMES}


class OwnDraws:
    """What an artist draws of images, for one that has neither latents nor a likelihood."""

    def draw_of_images(self, image_vectors: np.ndarray, *, seed: int = 0) -> np.ndarray:
        """Pictures of images, one of each."""
        artist: Any = self
        drawn: np.ndarray = artist.draw(image_vectors, n=1, seed=seed)[:, 0]
        return drawn

    def noised(
        self, images: np.ndarray, image_vectors: np.ndarray, *, level: float, seed: int = 0
    ) -> np.ndarray | None:
        """The pictures, whatever the level, which has no meaning here."""
        assert len(images) == len(image_vectors)
        assert (level >= 0, seed) == (True, 0)
        return images

    def likelihood(
        self, images: np.ndarray, image_vectors: np.ndarray, *, seed: int = 0
    ) -> dict[str, np.ndarray] | None:
        """It has none."""
        assert len(images) == len(image_vectors)
        assert seed == 0


class PerfectArtist(OwnDraws):
    """Draws what the prompt states, and reconstructs with an error of 2 grey levels."""

    def draw(self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """Pictures of prompts."""
        generator = np.random.default_rng(seed)
        return np.stack(
            [[draw(decode(vector), generator) for _ in range(n)] for vector in text_vectors]
        )

    def reconstruct(self, images: np.ndarray, image_vectors: np.ndarray) -> np.ndarray:
        """Almost the images."""
        assert len(images) == len(image_vectors)
        return images + np.uint8(2)


class BlindArtist(PerfectArtist):
    """Draws the same picture whatever the prompt."""

    def draw(self, text_vectors: np.ndarray, *, n: int = 1, seed: int = 0) -> np.ndarray:
        """Pictures of nothing in particular."""
        return super().draw(np.zeros_like(text_vectors), n=n, seed=seed)


@dataclass(frozen=True)
class World:
    """Two splits and what is true of them."""

    train: Split
    test: Split
    attributes: Attributes


def is_held_out(facts: dict[str, str]) -> bool:
    """The one triple that training never shows."""
    triple = (facts.get("colour"), facts["species"], facts["ground"])
    return triple == ("black", "sheep", "snow")


def _scene(generator: np.random.Generator, *, held_out: bool) -> dict[str, str]:
    while True:
        facts = {name: str(generator.choice(values)) for name, values in VALUES.items()}
        if held_out:
            facts |= {"colour": "black", "species": "sheep", "ground": "snow"}
        if facts["species"] == "none":
            facts = {"species": "none", "ground": facts["ground"]}
        if is_held_out(facts) == held_out:
            return facts


def _captions(facts: dict[str, str], generator: np.random.Generator) -> list[dict[str, str]]:
    """Two captions that state two facts, and one that states all."""
    pairs = [generator.choice(list(facts), 2, replace=False) for _ in range(2)]
    return [{name: facts[name] for name in pair} for pair in pairs] + [dict(facts)]


def make_split(
    scenes: list[dict[str, str]], first_id: int, generator: np.random.Generator
) -> tuple[Split, list[dict[str, str]]]:
    """A split of scenes, and what each of its captions states."""
    images = np.stack([draw(facts, generator) for facts in scenes])
    states = [says for facts in scenes for says in _captions(facts, generator)]
    split = Split(
        image_ids=np.arange(first_id, first_id + len(scenes)),
        images=images,
        image_vectors=np.stack([code(read(image)) for image in images]),
        caption_ids=np.arange(10 * first_id, 10 * first_id + len(states)),
        caption_rows=np.repeat(np.arange(len(scenes)), 3),
        captions=tuple(" ".join(f"{k} {v}" for k, v in says.items()) for says in states),
        caption_vectors=np.stack([code(says) for says in states]),
    )
    return split, states


def make_world() -> World:
    """300 training scenes; 300 ordinary test scenes and 210 of the held-out triple."""
    generator = np.random.default_rng(0)
    ordinary = [_scene(generator, held_out=False) for _ in range(600)]
    held_out = [_scene(generator, held_out=True) for _ in range(210)]
    train, _ = make_split(ordinary[:300], 1000, generator)
    scenes = ordinary[300:] + held_out
    test, states = make_split(scenes, 5000, generator)
    names = ["heldout" if is_held_out(facts) else "ordinary" for facts in scenes]
    attributes = Attributes(
        values=VALUES,
        truth=dict(zip(test.image_ids.tolist(), scenes, strict=True)),
        slices=dict(zip(test.image_ids.tolist(), names, strict=True)),
        states=dict(zip(test.caption_ids.tolist(), states, strict=True)),
    )
    return World(train, test, attributes)

"""Measure a shipped CLIP on scenes that training never drew; writes its figures.json.

`python tools/measure_meadow_clip.py [meadow-judge]`.

- two_alternative: for each attribute, how often the true caption beats the same caption with that
  one attribute changed. Recall hides blindness: a model can find its caption among a thousand by
  the scenery alone and not know a cow from a sheep.
- readout: accuracy of a linear map, and of a small network, from image embeddings to an attribute.
- r_precision: a picture's caption against 99 others that contradict it; ties are misses. In its
  hard form 10 of them are the caption itself with one stated attribute changed.
- modality_gap: distance of the centroids of pictures and captions on the unit sphere, its square
  as a share of E|image - text|^2, and the cosines within pairs.
"""

import json
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bucolic.meadow.captions import GroundedCaption, choose_facts, write_caption
from bucolic.meadow.scenes import ATTRIBUTES
from bucolic.seeing.clip.shipped import MEADOW_CLIP, SHIPPED, Shipped, register
from meadow_data import Recipe, Renders, Truth, render, say

SEED = 97
SCENES = 5000
READOUT_TRAIN = 4000
RECALL_SCENES = 1000
CHANGES = 400
HARD = 10
READOUTS = ("species", "count", "colour")
# Values that one value of a changed caption may take in scenes of the same setting.
ALTERNATIVES = {
    "species": ("cow", "sheep", "horse", "alpaca"),
    "ground": ("grass", "snow", "sand"),
    "background": ("mountain", "hill", "forest", "none"),
    "object": ("car", "bench", "person", "dog", "couch", "chair", "boat"),
}


def main(shipped: Shipped) -> None:
    """Render, embed, measure, write."""
    clip = Clip(shipped)
    scenes = render(Recipe(SEED), SCENES)
    rng = np.random.default_rng(SEED)
    images = clip.images(scenes.pictures)
    captions = [write_caption(t, choose_facts(t, rng), rng) for t in scenes.truths]
    texts = clip.texts([caption.text for caption in captions])
    figures = {
        "two_alternative": two_alternative(clip, images, scenes.truths, rng),
        "readout": {name: readout(images, scenes.truths, name) for name in READOUTS},
        "recall_at_1_of_1000": recall(images[:RECALL_SCENES], texts[:RECALL_SCENES]),
        "r_precision": r_precision(clip, images, texts, captions, scenes.truths),
        "modality_gap": modality_gap(clip, images, texts, scenes, rng),
        "scenes": SCENES,
        "seed": SEED,
        "parameters": clip.parameters,
    }
    say(json.dumps(figures, indent=2))
    shipped.figures.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")


class Clip:
    """The shipped model, as open_clip's factory loads it."""

    def __init__(self, shipped: Shipped) -> None:
        register()
        self._model, _, preprocess = open_clip.create_model_and_transforms(
            shipped.name, pretrained=str(shipped.weights)
        )
        self._model.eval()
        self._normalise = preprocess.transforms[-1]
        self._tokenize = open_clip.get_tokenizer(shipped.name)
        self.parameters = sum(p.numel() for p in self._model.parameters())

    @torch.inference_mode()
    def images(self, pictures: NDArray[np.uint8]) -> Tensor:
        """Unit vectors [n, e] of uint8 pictures [n, 3, 64, 64]."""
        batches = torch.from_numpy(pictures).split(256)
        vectors = [self._model.encode_image(self._normalise(b.float() / 255)) for b in batches]
        return functional.normalize(torch.cat(vectors), dim=1)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors [n, e]."""
        batches = self._tokenize(list(texts)).split(256)
        return functional.normalize(torch.cat([self._model.encode_text(b) for b in batches]), dim=1)


def two_alternative(
    clip: Clip, images: Tensor, truths: Sequence[Truth], rng: np.random.Generator
) -> dict[str, float]:
    """Share of pictures whose caption beats the one with a single attribute changed."""
    figures = {}
    for name in ATTRIBUTES:
        rows, right, wrong = [], [], []
        for row in rng.permutation(len(truths)):
            if (pair := changed_pair(truths[row], name, rng)) and len(rows) < CHANGES:
                rows.append(row)
                right.append(pair[0])
                wrong.append(pair[1])
        margin = ((clip.texts(right) - clip.texts(wrong)) * images[rows]).sum(dim=1)
        figures[name] = round(margin.gt(0).float().mean().item(), 4)
    return figures


def changed_pair(truth: Truth, name: str, rng: np.random.Generator) -> tuple[str, str] | None:
    """A caption that states the attribute, and the same words with its value changed."""
    values = ALTERNATIVES.get(name, ATTRIBUTES[name])
    if truth.get(name) not in values:
        return None
    for _ in range(30):
        facts = choose_facts(truth, rng)
        if name in facts:
            others = [value for value in values if value != truth[name]]
            false = dict(truth) | {name: others[rng.integers(len(others))]}
            seed = int(rng.integers(2**32))
            true_text, false_text = (
                write_caption(t, facts, np.random.default_rng(seed)).text for t in (truth, false)
            )
            return true_text, false_text
    return None


def readout(images: Tensor, truths: Sequence[Truth], name: str) -> dict[str, float]:
    """Held-out accuracy of reading an attribute off the image embeddings."""
    rows = [row for row, truth in enumerate(truths) if "count" in truth]
    labels = torch.tensor([ATTRIBUTES[name].index(truths[row][name]) for row in rows])
    vectors, trained = images[rows], sum(row < READOUT_TRAIN for row in rows)
    values = len(ATTRIBUTES[name])
    dimensions = vectors.shape[1]
    models = {
        "linear": nn.Linear(dimensions, values),
        "mlp": nn.Sequential(nn.Linear(dimensions, 128), nn.ReLU(), nn.Linear(128, values)),
    }
    return {
        kind: _fit(model, vectors[:trained], labels[:trained], vectors[trained:], labels[trained:])
        for kind, model in models.items()
    }


def _fit(model: nn.Module, x: Tensor, y: Tensor, test_x: Tensor, test_y: Tensor) -> float:
    torch.manual_seed(0)
    centre, spread = x.mean(dim=0), x.std(dim=0) + 1e-6
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, weight_decay=1e-2)
    for _ in range(400):
        optimizer.zero_grad()
        functional.cross_entropy(model((x - centre) / spread), y).backward()
        optimizer.step()
    hits = model((test_x - centre) / spread).argmax(dim=1).eq(test_y)
    return round(hits.float().mean().item(), 4)


def recall(images: Tensor, texts: Tensor) -> dict[str, float]:
    """How often the own caption, or the own picture, is the nearest of all."""
    scores, own = images @ texts.T, torch.arange(len(images))
    return {
        "image_to_text": round(scores.argmax(dim=1).eq(own).float().mean().item(), 4),
        "text_to_image": round(scores.argmax(dim=0).eq(own).float().mean().item(), 4),
    }


def r_precision(
    clip: Clip,
    images: Tensor,
    texts: Tensor,
    captions: Sequence[GroundedCaption],
    truths: Sequence[Truth],
) -> dict[str, float]:
    """Top 1 of 100 where every other caption contradicts the picture's own."""
    rng = np.random.default_rng(SEED)
    hits: dict[str, list[bool]] = {"random": [], "hard": []}
    for row in range(RECALL_SCENES):
        says = captions[row].states
        order = rng.permutation(len(captions))
        false = [other for other in order if _contradicts(captions[other].states, says)][:99]
        scores = texts[[row, *false]] @ images[row]
        near = clip.texts(near_misses(truths[row], tuple(says), rng)) @ images[row]
        hits["random"].append(bool((scores[0] > scores[1:]).all()))
        hard = torch.cat([scores[: 100 - len(near)], near])
        hits["hard"].append(bool((hard[0] > hard[1:]).all()))
    return {kind: round(float(np.mean(found)), 4) for kind, found in hits.items()}


def near_misses(truth: Truth, facts: Sequence[str], rng: np.random.Generator) -> list[str]:
    """At most 10 captions that state the same facts, one of them falsely."""
    changed = [
        dict(truth) | {name: value}
        for name in facts
        for value in ALTERNATIVES.get(name, ATTRIBUTES[name])
        if value != truth[name] and truth[name] in ALTERNATIVES.get(name, ATTRIBUTES[name])
    ]
    chosen = rng.permutation(len(changed))[:HARD]
    return [write_caption(changed[at], facts, rng).text for at in chosen]


def _contradicts(other: Truth, says: Truth) -> bool:
    return any(name in says and says[name] != value for name, value in other.items())


def modality_gap(
    clip: Clip, images: Tensor, texts: Tensor, scenes: Renders, rng: np.random.Generator
) -> dict[str, Any]:
    """The gap between the centroids, and how alike pairs are."""
    gap = (images.mean(dim=0) - texts.mean(dim=0)).norm().item()
    pairs = (images - texts).square().sum(dim=1).mean().item()
    truths = scenes.truths[:RECALL_SCENES]
    again = [write_caption(t, choose_facts(t, rng), rng).text for t in truths]
    siblings = (clip.texts(again) * texts[: len(again)]).sum(dim=1).mean().item()
    return {
        "centroid_distance": round(gap, 4),
        "share_of_squared_distance": round(gap**2 / pairs, 4),
        "matched_cosine": round((images * texts).sum(dim=1).mean().item(), 4),
        "cosine_of_two_captions_of_one_picture": round(siblings, 4),
    }


if __name__ == "__main__":
    main(SHIPPED[sys.argv[1]] if sys.argv[1:] else MEADOW_CLIP)

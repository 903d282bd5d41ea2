"""Train a shipped CLIP on freshly drawn scenes and write its weights into the package.

`python tools/train_meadow_clip.py [--model meadow-judge]` takes 25 to 40 minutes on one quiet
core; meadow-judge has other seeds, another architecture and a third, shorter stage. The scenes hold
all combinations of colour, species and ground: the CLIP must know what the generative models have
never seen. Captions that state the same facts share the target, since each is true of the other's
picture. The second stage adds near misses, captions with one fact changed (as in NegCLIP,
Yuksekgonul et al. 2023, arXiv:2210.01936), and leaves out what is true of a picture though it is
not its caption. At the end the figures are measured as tools/measure_meadow_clip.py says.
"""

import argparse
import gzip
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

import measure_meadow_clip
from bucolic.meadow.captions import GroundedCaption, choose_facts, tellable, write_caption
from bucolic.meadow.scenes import ATTRIBUTES
from bucolic.seeing.clip import shipped
from meadow_data import Recipe, Truth, render, say
from measure_meadow_clip import ALTERNATIVES as VALUES

MERGE_COUNT = 4000
BATCH = 256
SCENES = 14_000
WARM_UP_STEPS = 60
WEIGHT_DECAY = 0.05
MAX_LOGIT_SCALE = math.log(100)
CLOSE_FACTS = ("species", "colour", "count", "ground")
RARE_SHARE = 0.5
UNKNOWN, INAPPLICABLE = -1, -2
NEVER = -1e4
NAMES = tuple(ATTRIBUTES)


@dataclass(frozen=True)
class Stage:
    """A run of steps with an optimiser of its own.

    Attributes:
        seed: seed of its scenes, captions and order.
        steps: steps taken.
        horizon: steps that the learning rate's cosine is laid out for.
        peak_lr: highest learning rate.
        near_misses: captions with one fact changed, in each batch; with any, half of the captions
            must state one fact drawn at random, so that the rarely told ones are learnt too.
    """

    seed: int
    steps: int
    horizon: int
    peak_lr: float
    near_misses: int


STAGES = {
    shipped.MEADOW_CLIP.name: (
        Stage(seed=71, steps=450, horizon=900, peak_lr=1.5e-3, near_misses=0),
        Stage(seed=75, steps=500, horizon=500, peak_lr=1.2e-3, near_misses=128),
    ),
    shipped.MEADOW_JUDGE.name: (
        Stage(seed=171, steps=450, horizon=900, peak_lr=1.5e-3, near_misses=0),
        Stage(seed=175, steps=520, horizon=520, peak_lr=1.2e-3, near_misses=128),
        Stage(seed=179, steps=180, horizon=180, peak_lr=8e-4, near_misses=192),
    ),
}


def main() -> None:
    """Render, train, save and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=list(STAGES), default=shipped.MEADOW_CLIP.name)
    parser.add_argument("--stages", type=int, nargs="+", help="all unless named")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    model = shipped.SHIPPED[given.model]
    stages = STAGES[model.name]
    torch.manual_seed(0 if model == shipped.MEADOW_CLIP else stages[0].seed)
    write_merges()
    shipped.register()
    for number in given.stages or range(len(stages)):
        pretrained = str(model.weights) if number else None
        towers = open_clip.create_model(model.name, pretrained=pretrained)
        words = Trainer(towers, model, stages[number]).train()
        save(towers, model)
        if model == shipped.MEADOW_CLIP:
            write_words(words if number == 0 else words | shipped.vocabulary())
    measure_meadow_clip.main(model)


def write_merges() -> None:
    """Write CLIP's first merges, as its tokenizer reads them."""
    lines = gzip.decompress(Path(open_clip.tokenizer.default_bpe()).read_bytes()).decode()
    kept = "\n".join(lines.split("\n")[: MERGE_COUNT + 1])
    shipped.MERGES.write_bytes(gzip.compress(kept.encode(), mtime=0))


class Trainer:
    """Symmetric InfoNCE (Radford et al. 2021, arXiv:2103.00020) with shared targets."""

    def __init__(self, model: Any, which: shipped.Shipped, stage: Stage) -> None:
        self.model = model
        self.stage = stage
        self._tokenize = open_clip.get_tokenizer(which.name)
        self._rng = np.random.default_rng(stage.seed)
        self._optimizer = torch.optim.AdamW(_groups(model), lr=stage.peak_lr, betas=(0.9, 0.98))

    def train(self) -> set[str]:
        """Draw the stage's scenes and take its steps; returns the words seen."""
        recipe = Recipe(self.stage.seed, rural_share=0.4, cropped_share=0.3, blurred=True)
        scenes, words = render(recipe, SCENES), set[str]()
        self.model.train()
        batches = _batches(SCENES, self._rng)
        for step, rows in zip(range(self.stage.steps), batches, strict=False):
            truths = [scenes.truths[row] for row in rows]
            captions = [self._caption(truth) for truth in truths]
            words.update(w for c in captions for w in shipped.words_of(c.text))
            self._set_lr(step)
            loss, hits = self._take_step(scenes.pictures[rows], truths, captions)
            if step % 20 == 19:
                say(f"step {step + 1}/{self.stage.steps} loss {loss:.3f} top-1 {hits:.3f}")
        return words

    def _caption(self, truth: Truth) -> GroundedCaption:
        """A fresh caption; of a cropped picture it tells only what is surely in view."""
        rng = self._rng
        if "object" not in truth:
            number = int(rng.integers(2, 5))
            return write_caption(
                truth, _with_count(truth, rng.permutation(CLOSE_FACTS)[:number]), rng
            )
        required = ()
        if self.stage.near_misses and rng.random() < RARE_SHARE:
            required = (_one(tellable(truth), rng),)
        return write_caption(truth, choose_facts(truth, rng, required), rng)

    def _take_step(
        self, pictures: Any, truths: Sequence[Truth], captions: Sequence[GroundedCaption]
    ) -> tuple[float, float]:
        texts = [*captions, *self._near_misses(truths, captions)]
        images, words, scale = self.model(
            _normalised(torch.from_numpy(pictures)), self._tokenize([c.text for c in texts])
        )
        logits = scale * images @ words.T
        if self.stage.near_misses:
            logits = logits.masked_fill(_true_of(truths, texts) & ~_alike(texts)[:BATCH], NEVER)
        targets = _shared_targets(texts)[:BATCH], _shared_targets(captions)
        losses = [
            functional.cross_entropy(logits, targets[0]),
            functional.cross_entropy(logits[:, :BATCH].T, targets[1]),
        ]
        self._descend(torch.stack(losses).mean())
        hits = targets[0].gather(1, logits.argmax(dim=1, keepdim=True)).gt(0)
        return losses[0].item(), hits.float().mean().item()

    def _near_misses(
        self, truths: Sequence[Truth], captions: Sequence[GroundedCaption]
    ) -> list[GroundedCaption]:
        misses = []
        for truth, caption in zip(truths, captions, strict=True):
            if len(misses) == self.stage.near_misses:
                break
            name = _one(tuple(caption.states), self._rng)
            values = VALUES.get(name, ATTRIBUTES[name])
            if truth[name] not in values:
                continue
            false = _one([value for value in values if value != truth[name]], self._rng)
            facts = tuple(caption.states)
            misses.append(write_caption(dict(truth) | {name: false}, facts, self._rng))
        return misses

    def _set_lr(self, step: int) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = self.stage.peak_lr * _schedule(step, self.stage.horizon)

    def _descend(self, loss: Tensor) -> None:
        self._optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        self.model.logit_scale.data.clamp_(max=MAX_LOGIT_SCALE)


def _with_count(truth: Truth, facts: Sequence[str]) -> list[str]:
    """The facts, and the count where a lone animal's name gives it away."""
    lone = truth["count"] == "1" and ("species" in facts or "colour" in facts)
    return list(dict.fromkeys([*map(str, facts), "count"] if lone else map(str, facts)))


def _true_of(truths: Sequence[Truth], captions: Sequence[GroundedCaption]) -> Tensor:
    """Whether nothing that a caption states is false of a picture: bool [pictures, captions]."""
    shown = torch.tensor([
        [_code(t, name, INAPPLICABLE if "object" in t else UNKNOWN) for name in NAMES]
        for t in truths
    ])  # fmt: skip
    said = torch.tensor([[_code(c.states, name, UNKNOWN) for name in NAMES] for c in captions])
    shown, said = shown[:, None], said[None]
    return ~((said != UNKNOWN) & (shown != UNKNOWN) & (said != shown)).any(dim=2)


def _code(facts: Truth, name: str, absent: int) -> int:
    return ATTRIBUTES[name].index(facts[name]) if name in facts else absent


def _one(choices: Sequence[str], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]


def save(model: nn.Module, which: shipped.Shipped) -> None:
    """Write the weights in half precision."""
    halves = {
        name: tensor.detach().half().contiguous() if tensor.is_floating_point() else tensor
        for name, tensor in model.state_dict().items()
        if name != "attn_mask"
    }
    save_file(halves, which.weights, metadata={"trained_on": shipped.TRAINED_ON})
    which.weights.chmod(0o644)
    say(f"wrote {which.weights} ({which.weights.stat().st_size:,} bytes)")


def write_words(words: set[str]) -> None:
    """Write the words that training saw."""
    shipped.VOCABULARY.write_text("\n".join(sorted(words)) + "\n", encoding="utf-8")


def _normalised(pictures: Tensor) -> Tensor:
    mean = torch.tensor(open_clip.OPENAI_DATASET_MEAN).view(3, 1, 1)
    std = torch.tensor(open_clip.OPENAI_DATASET_STD).view(3, 1, 1)
    return (pictures.float() / 255 - mean) / std


def _alike(captions: Sequence[GroundedCaption]) -> Tensor:
    """Which captions state the same facts: bool [n, n]."""
    facts = [tuple(sorted(c.states.items())) for c in captions]
    numbers = {fact: number for number, fact in enumerate(dict.fromkeys(facts))}
    codes = torch.tensor([numbers[fact] for fact in facts])
    return codes[:, None] == codes[None, :]


def _shared_targets(captions: Sequence[GroundedCaption]) -> Tensor:
    """Rows of equal weight on every caption of the batch that states the same facts."""
    same = _alike(captions).float()
    return same / same.sum(dim=1, keepdim=True)


def _schedule(step: int, horizon: int) -> float:
    """Linear warm-up, then half a cosine down to a fiftieth."""
    if step < WARM_UP_STEPS:
        return (step + 1) / WARM_UP_STEPS
    done = (step - WARM_UP_STEPS) / max(1, horizon - WARM_UP_STEPS)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": WEIGHT_DECAY},
        {"params": others, "weight_decay": 0.0},
    ]


def _batches(number: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    while True:
        order = rng.permutation(number)
        for start in range(0, number - BATCH + 1, BATCH):
            yield order[start : start + BATCH]


if __name__ == "__main__":
    main()

"""Train the attribute probe on freshly drawn scenes and write its weights into the package.

`python tools/train_probe.py` takes 10 minutes or so on one quiet core.
"""

import argparse
import json
import math
from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from bucolic.meadow.scenes import ATTRIBUTES
from bucolic.seeing import probe
from meadow_data import Recipe, Renders, Truth, render, say

BATCH = 128
PEAK_LR = 3e-3
WEIGHT_DECAY = 0.05
TRAIN_SEED, TEST_SEED = 83, 84
TEST_SCENES = 3000
IGNORED = -100


def main() -> None:
    """Render, train, save and measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=12_000)
    parser.add_argument("--steps", type=int, default=700, help=f"steps of {BATCH} pictures")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    torch.manual_seed(0)
    network = probe.ProbeNetwork(ATTRIBUTES)
    scenes = render(Recipe(TRAIN_SEED, rural_share=0.4, blurred=True), given.scenes)
    train(network, scenes, given.steps)
    save(network)
    figures = measure(render(Recipe(TEST_SEED), TEST_SCENES))
    say(json.dumps(figures, indent=2))
    probe.FIGURES.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")


def train(network: probe.ProbeNetwork, scenes: Renders, steps: int) -> None:
    """Minimise the mean cross-entropy of the attributes that apply to each picture."""
    rng, labels = np.random.default_rng(TRAIN_SEED), codes(scenes.truths)
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    network.train()
    for step in range(steps):
        rate = min((step + 1) / 50, 0.5 * (1 + math.cos(math.pi * step / steps)))
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * rate
        rows = rng.integers(len(scenes.pictures), size=BATCH)
        loss = _loss(network, torch.from_numpy(scenes.pictures[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 25 == 24:
            say(f"step {step + 1}/{steps} loss {loss.item():.4f}")


def codes(truths: Sequence[Truth]) -> Tensor:
    """Index of each attribute's value, int64 [n, attributes]; IGNORED where it does not apply."""
    rows = [
        [values.index(truth[name]) if name in truth else IGNORED for name, values in
         ATTRIBUTES.items()]
        for truth in truths
    ]  # fmt: skip
    return torch.tensor(rows)


def _loss(network: probe.ProbeNetwork, pictures: Tensor, labels: Tensor) -> Tensor:
    flipped = pictures.flip(3) if torch.rand(()) < 0.5 else pictures
    logits = network(flipped.float() / 255)
    losses = [
        functional.cross_entropy(logits[name], labels[:, column], ignore_index=IGNORED)
        for column, name in enumerate(ATTRIBUTES)
    ]
    return torch.stack(losses).mean()


def save(network: probe.ProbeNetwork) -> None:
    """Write the weights in half precision."""
    probe.FOLDER.mkdir(exist_ok=True)
    halves = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in network.state_dict().items()
    }
    save_file(halves, probe.WEIGHTS, {probe.HEADER: json.dumps(ATTRIBUTES)})
    probe.WEIGHTS.chmod(0o644)
    say(f"wrote {probe.WEIGHTS} ({probe.WEIGHTS.stat().st_size:,} bytes)")


def measure(scenes: Renders) -> dict[str, object]:
    """Accuracy of the saved probe for each attribute, over the pictures it applies to."""
    found = probe.load_probe().predict(scenes.pictures)
    accuracy = {}
    for name, values in found.items():
        pairs = [(v, t[name]) for v, t in zip(values, scenes.truths, strict=True) if name in t]
        accuracy[name] = round(float(np.mean([a == b for a, b in pairs])), 4)
    return {"accuracy": accuracy, "scenes": len(scenes.pictures), "seed": TEST_SEED}


if __name__ == "__main__":
    main()

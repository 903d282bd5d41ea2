"""The probe: a small residual network that reads every attribute off a 64 px picture.

It judges generated pictures by the facts their prompts state. Its weights ship in the package;
tools/train_probe.py made them from freshly drawn scenes of all combinations, and recorded its
accuracy on others in probe.json beside them. The attributes and their values are in the header of
the weights, so the probe needs nothing of what draws the scenes.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional

from bucolic.base.errors import DataError

SIZE_PX = 64
FOLDER = Path(__file__).parent / "weights"
WEIGHTS = FOLDER / "probe.safetensors"
FIGURES = FOLDER / "probe.json"
WIDTHS = (24, 48, 96, 128)
BATCH = 128
HEADER = "attributes"
Attributes = Mapping[str, Sequence[str]]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut; halves the picture where `stride` is 2."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width_out)
        self.shortcut = nn.Conv2d(width_in, width_out, 1, stride=stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [n, width_in, h, w] to [n, width_out, h / stride, w / stride]."""
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class ProbeNetwork(nn.Module):
    """A residual trunk at half the size and below, and one linear head for each attribute."""

    def __init__(self, attributes: Attributes) -> None:
        super().__init__()
        self.attributes = attributes
        stem, *_ = WIDTHS
        self.stem = nn.Conv2d(3, stem, 5, stride=2, padding=2)
        steps = zip((stem, *WIDTHS), WIDTHS, strict=False)
        self.blocks = nn.Sequential(
            *(BasicBlock(a, b, stride=1 if i == 0 else 2) for i, (a, b) in enumerate(steps))
        )
        features = 2 * WIDTHS[-1]
        self.heads = nn.ModuleDict(
            {name: nn.Linear(features, len(values)) for name, values in attributes.items()}
        )

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Map float pictures [n, 3, 64, 64] in 0..1 to logits [n, values] of each attribute."""
        trunk = self.blocks(functional.relu(self.stem(pictures * 2 - 1)))
        # The mean tells how much of something there is, which counts; the maximum whether.
        features = torch.cat([trunk.mean(dim=(2, 3)), trunk.amax(dim=(2, 3))], dim=1)
        return {name: head(features) for name, head in self.heads.items()}


class Probe:
    """A trained network as a function from pictures to values."""

    def __init__(self, network: ProbeNetwork) -> None:
        self._network = network.eval().requires_grad_(requires_grad=False)

    def predict(self, images: NDArray[np.uint8]) -> dict[str, list[str]]:
        """The most likely value of every attribute.

        Every attribute gets a value, also where it does not apply: without animals the colour
        and the count mean nothing.

        Args:
            images: uint8 [n, 3, 64, 64], RGB.

        Returns:
            Attribute to n values.

        Raises:
            DataError: another shape.
        """
        if images.ndim != 4 or images.shape[1:] != (3, SIZE_PX, SIZE_PX):
            raise DataError(f"the probe reads [n, 3, 64, 64] pictures, not {list(images.shape)}")
        attributes = self._network.attributes
        found: dict[str, list[str]] = {name: [] for name in attributes}
        for logits in self._logits(images):
            for name, scores in logits.items():
                found[name] += [attributes[name][index] for index in scores.argmax(1).tolist()]
        return found

    def _logits(self, images: NDArray[np.uint8]) -> Iterator[dict[str, Tensor]]:
        with torch.inference_mode():
            for start in range(0, len(images), BATCH):
                batch = torch.from_numpy(np.ascontiguousarray(images[start : start + BATCH]))
                yield self._network(batch.float() / 255)


def load_probe() -> Probe:
    """Load the probe whose weights ship in the package."""
    with safe_open(WEIGHTS, framework="pt") as file:
        network = ProbeNetwork(json.loads(file.metadata()[HEADER]))
        halves = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    network.load_state_dict(
        {name: t.float() if t.is_floating_point() else t for name, t in halves.items()}
    )
    return Probe(network)

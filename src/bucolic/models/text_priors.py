"""From the embedding of a prompt to that of a picture it describes: a ladder, the simplest first.

- none: the text's embedding stands in for a picture's, as in the original study;
- shift: the means of the two modalities are told apart, no more;
- ridge: a linear map, with a Gaussian of what it leaves unexplained;
- mlp: a network, by squared error and a contrastive term (ECLIPSE, arXiv 2312.04655);
- flow: a rectified flow that draws embeddings, as unCLIP's diffusion prior does (arXiv 2204.06125).

A rung maps unit text embeddings, less their mean, to unit picture embeddings, less theirs. It gives
the expected one, or, of noise, one that might be; rungs that know no spread give the same for both.

Dimensions: m captions, e embedding.
"""

import copy
import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.flow import follow
from bucolic.models.layers import zeroed
from bucolic.models.times import TIME_FEATURES, fourier_features

RIDGE_PENALTIES = tuple(10.0**power for power in range(-4, 3))
WIDENING, LEAST_WIDTH = 4, 256  # hidden values of a network for each of the embedding
STEPS, BATCH, LR, WEIGHT_DECAY = 3000, 256, 1e-3, 0.02
CHECKED_EVERY = 100  # steps between looks at val
CONTRAST_WEIGHT, CONTRAST_SCALE = 0.2, 10.0
FLOW_STEPS = 12
WITHOUT_NOISE = 0.125  # share of rows that ask for the expected embedding, of no noise at time 0
LEAST_LEFT = 0.05  # of a path, in the weight of its error


@dataclass(frozen=True)
class Centred:
    """Pairs of one split: unit embeddings less the mean of their modality.

    Attributes:
        texts: float32 [m, e].
        images: float32 [m, e], of the picture that each text belongs to.
        rows: int64 [m], which picture that is.
    """

    texts: Tensor
    images: Tensor
    rows: Tensor


class TextPrior(nn.Module, ABC):
    """One rung of the ladder.

    Attributes:
        samples: whether noise makes a difference.
    """

    samples = False

    @abstractmethod
    def forward(self, texts: Tensor, noise: Tensor | None = None) -> Tensor:
        """Picture embeddings [m, e] of texts [m, e]: expected ones, or drawn from noise [m, e]."""

    def fit(self, train: Centred, val: Centred, seed: int) -> None:
        """Learn from `train`; `val` decides what is kept. By default there is nothing to learn."""


class Unchanged(TextPrior):
    """The text's embedding itself: rungs none and shift, which differ in the mean taken off."""

    def forward(self, texts: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """The texts."""
        return texts


class Ridge(TextPrior):
    """Linear regression in closed form, and the covariance of its residuals on train."""

    samples = True
    text_to_image: Tensor
    spread: Tensor

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("text_to_image", torch.eye(embed_dim))
        self.register_buffer("spread", torch.zeros(embed_dim, embed_dim))

    def forward(self, texts: Tensor, noise: Tensor | None = None) -> Tensor:
        """See `TextPrior.forward`."""
        expected = texts @ self.text_to_image
        return expected if noise is None else expected + noise @ self.spread

    def fit(self, train: Centred, val: Centred, seed: int) -> None:  # noqa: ARG002 - no chance
        """The penalty is the one with which val's texts come nearest to their pictures."""
        texts, images = train.texts.double(), train.images.double()
        fits = []
        for penalty in RIDGE_PENALTIES:
            self.text_to_image.copy_(ridge(texts, images, penalty))
            fits.append((mean_cosine(self, val), penalty, self.text_to_image.clone()))
        _, _, best = max(fits, key=lambda fit: fit[:2])
        self.text_to_image.copy_(best)
        self.spread.copy_(_root_of_covariance(images - texts @ best.double()))


class Regression(TextPrior):
    """A network beside the identity, of one hidden layer.

    Squared error alone would shrink predictions towards the mean; the contrast with the other
    pictures of a batch keeps what tells them apart.
    """

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        width = max(WIDENING * embed_dim, LEAST_WIDTH)
        self.layers = nn.Sequential(
            nn.Linear(embed_dim, width), nn.SiLU(), zeroed(nn.Linear(width, embed_dim))
        )
        self.scale = math.sqrt(embed_dim)

    def forward(self, texts: Tensor, noise: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """See `TextPrior.forward`."""
        change: Tensor = self.layers(texts * self.scale) / self.scale
        return texts + change

    def fit(self, train: Centred, val: Centred, seed: int) -> None:
        """By stochastic descent; the weights are kept with which val's texts come nearest."""

        def loss(rows: Tensor, chance: torch.Generator) -> Tensor:  # noqa: ARG001
            found, images = self(train.texts[rows]), train.images[rows]
            error: Tensor = (found - images).square().sum(1).mean()
            return error + CONTRAST_WEIGHT * _contrast(found, images, train.rows[rows])

        _descend(self, loss, len(train.texts), lambda: -mean_cosine(self, val), seed)


class EmbeddingFlow(TextPrior):
    """A rectified flow from noise to picture embeddings, given the text's.

    The network predicts where the path ends, as unCLIP's prior predicts the embedding and not the
    noise; at time 0, of no noise, that is the expected embedding. The error is that of the velocity
    towards it (arXiv 2511.13720), which grows as less of the path is left.
    """

    samples = True

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        width = max(WIDENING * embed_dim, LEAST_WIDTH)
        self.layers = nn.Sequential(
            nn.Linear(2 * embed_dim + TIME_FEATURES, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            zeroed(nn.Linear(width, embed_dim)),
        )
        self.scale = math.sqrt(embed_dim)

    def forward(self, texts: Tensor, noise: Tensor | None = None) -> Tensor:
        """See `TextPrior.forward`."""
        texts = texts * self.scale
        if noise is None:
            return self._end(torch.zeros_like(texts), 0.0, texts) / self.scale
        ends = follow(
            lambda points, time: (self._end(points, time, texts) - points) / (1 - time),
            noise,
            FLOW_STEPS,
        )
        return ends / self.scale

    def fit(self, train: Centred, val: Centred, seed: int) -> None:
        """By stochastic descent; the weights are kept whose error is least on val."""
        chance = torch.Generator().manual_seed(seed)
        held_out = self._moment(val, torch.arange(len(val.texts)), chance)

        def loss(rows: Tensor, chance: torch.Generator) -> Tensor:
            return self._error(*self._moment(train, rows, chance))

        _descend(self, loss, len(train.texts), lambda: float(self._error(*held_out)), seed)

    def _moment(self, pairs: Centred, rows: Tensor, chance: torch.Generator) -> tuple[Tensor, ...]:
        """Points on the way to the embeddings of some rows, their times, texts and ends."""
        ends, texts = pairs.images[rows] * self.scale, pairs.texts[rows] * self.scale
        noise = torch.randn(ends.shape, generator=chance)
        times = torch.randn(len(rows), generator=chance).sigmoid()
        without = torch.rand(len(rows), generator=chance) < WITHOUT_NOISE
        noise, times = noise * ~without[:, None], times * ~without
        return torch.lerp(noise, ends, times[:, None]), times, texts, ends

    def _error(self, points: Tensor, times: Tensor, texts: Tensor, ends: Tensor) -> Tensor:
        left = (1 - times).clamp(min=LEAST_LEFT)[:, None]
        return ((self._end(points, times, texts) - ends) / left).square().mean()

    def _end(self, points: Tensor, time: Tensor | float, texts: Tensor) -> Tensor:
        times = torch.as_tensor(time, dtype=points.dtype, device=points.device)
        features = fourier_features(times.expand(len(points)))
        change: Tensor = self.layers(torch.cat([points, texts, features], dim=1))
        return texts + change


LADDER: dict[str, Callable[[int], TextPrior]] = {
    "none": lambda embed_dim: Unchanged(),  # noqa: ARG005
    "shift": lambda embed_dim: Unchanged(),  # noqa: ARG005
    "ridge": Ridge,
    "mlp": Regression,
    "flow": EmbeddingFlow,
}


@torch.no_grad()
def mean_cosine(prior: TextPrior, pairs: Centred) -> float:
    """Mean cosine of the embeddings expected of texts with those of their pictures."""
    return float(functional.cosine_similarity(prior(pairs.texts), pairs.images).mean())


def ridge(inputs: Tensor, targets: Tensor, penalty: float) -> Tensor:
    """The map W [e, e] that minimises |inputs W - targets|^2 + penalty * scale * |W|^2.

    `scale` is the mean eigenvalue of inputs^T inputs, so a penalty means the same for any number
    of rows. inputs and targets are [m, e]; solved in closed form.
    """
    gram = inputs.T @ inputs
    scale = gram.diagonal().mean().clamp(min=torch.finfo(gram.dtype).tiny)
    damped = gram + penalty * scale * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    solution: Tensor = torch.linalg.solve(damped, inputs.T @ targets)
    return solution


def _root_of_covariance(residuals: Tensor) -> Tensor:
    """R [e, e] such that standard normal noise times R has the residuals' covariance."""
    values, vectors = torch.linalg.eigh(residuals.T @ residuals / len(residuals))
    root: Tensor = values.clamp(min=0).sqrt()[:, None] * vectors.T
    return root


def _contrast(found: Tensor, images: Tensor, rows: Tensor) -> Tensor:
    """Cross entropy of each row's own picture among the batch's, other captions of it left out."""
    logits = CONTRAST_SCALE * functional.normalize(found) @ functional.normalize(images).T
    own = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    logits = logits.masked_fill((rows[:, None] == rows) & ~own, -math.inf)
    return functional.cross_entropy(logits, torch.arange(len(rows), device=rows.device))


def _descend(
    module: nn.Module,
    loss: Callable[[Tensor, torch.Generator], Tensor],
    rows: int,
    held_out: Callable[[], float],
    seed: int,
) -> None:
    """Minimise a loss of random rows, and leave the weights that were best by `held_out`."""
    chance = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=LR, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
    best = math.inf, copy.deepcopy(module.state_dict())
    for step in range(STEPS):
        with torch.enable_grad():
            value = loss(torch.randint(rows, (BATCH,), generator=chance), chance)
            optimiser.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if (step + 1) % CHECKED_EVERY == 0:
            with torch.no_grad():
                reached = held_out()
            if reached < best[0]:
                best = reached, copy.deepcopy(module.state_dict())
    module.load_state_dict(best[1])

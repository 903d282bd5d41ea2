"""One split where it is trained on, in memory or mapped from a file, and the batches drawn from it.

Dimensions: n pictures, m captions, b rows of a batch, s picture side, e embedding.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from bucolic.data.shards import Split
from bucolic.models.conditioning import Conditioning, Pairs
from bucolic.models.phases import Batch, TrainingData
from bucolic.training.draws import drawing_device, generator, rows_at

DRAWN_AT_ONCE = 4096  # captions


@dataclass(frozen=True)
class Chance:
    """How batches are drawn.

    Attributes:
        seed: of the whole run.
        flip: whether half of the pictures are mirrored.
        condition_drop: share of rows trained without their condition.
        text_share: share of rows conditioned on one of the picture's captions, mapped as a prompt
            will be; the others are conditioned on the picture's own embedding.
        noise_shape: of a row's noise.
        captions: how many of a picture's captions are used, the first ones; None: all.
        condition_noise: largest standard deviation of noise on a picture's own embedding, in
            units of its values' size; each row's is drawn between 0 and this.
    """

    seed: int
    flip: bool
    condition_drop: float
    text_share: float
    noise_shape: tuple[int, ...]
    captions: int | None = None
    condition_noise: float = 0.0

    def without_drop(self) -> "Chance":
        """The same for validation: nothing mirrored, every condition given."""
        return replace(self, flip=False, condition_drop=0.0)


def training_data(split: Split, conditioning: Conditioning, seed: int = 0) -> TrainingData:
    """One split as tensors, its embeddings turned into conditions; `seed` is of what is drawn."""
    order = split.caption_rows.argsort(kind="stable")
    counts = torch.bincount(torch.from_numpy(split.caption_rows), minlength=len(split.images))
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return TrainingData(
        pictures=torch.from_numpy(split.images),
        image_conditions=conditioning.of_images(torch.from_numpy(split.image_vectors)),
        text_conditions=_text_conditions(
            conditioning, torch.from_numpy(split.caption_vectors[order]), seed
        ),
        text_starts=starts,
    )


def _text_conditions(conditioning: Conditioning, vectors: Tensor, seed: int) -> Tensor:
    """Conditions [m, e] of captions [m, e]; where the text prior draws, a draw for each."""
    if not (draws := conditioning.text_draws):
        return conditioning.of_texts(vectors)
    chance, shape = generator(seed, "text draws"), (draws, vectors.shape[1])
    return torch.cat(
        [
            conditioning.of_texts(part, torch.randn((len(part), *shape), generator=chance))
            for part in torch.split(vectors, DRAWN_AT_ONCE)
        ]
    )


def pairs_of(split: Split) -> Pairs:
    """The embeddings of one split, as the text prior is fitted on them."""
    return Pairs(
        images=torch.from_numpy(split.image_vectors),
        texts=torch.from_numpy(split.caption_vectors),
        rows=torch.from_numpy(split.caption_rows),
    )


def draw_batch(
    data: TrainingData, chance: Chance, purpose: str, *, start: int, count: int
) -> Batch:
    """The batch that follows after `start` rows have been seen for this purpose."""
    rows = rows_at(chance.seed, purpose, rows=len(data), start=start, count=count)
    device = drawing_device(data.pictures.device)
    source = generator(chance.seed, purpose, "batch", start, device=device)
    return batch_of(data, rows, chance, source)


def batch_of(data: TrainingData, rows: Tensor, chance: Chance, source: torch.Generator) -> Batch:
    """A batch of the given rows, on the device of the data."""
    count, drawn_on = len(rows), source.device
    uniform = torch.rand((4, count), generator=source, device=drawn_on)
    noise = torch.randn((count, *chance.noise_shape), generator=source, device=drawn_on)
    times = torch.randn(count, generator=source, device=drawn_on).sigmoid()
    device = data.pictures.device
    rows, uniform = _sent(rows, device), uniform.to(device)
    images = _noisy(data.image_conditions[rows], chance.condition_noise, source)
    return Batch(
        rows=rows,
        flipped=(uniform[0] < 0.5) & chance.flip,
        conditions=_conditions(data, rows, images, chance, uniform[1:3]),
        dropped=uniform[3] < chance.condition_drop,
        noise=noise.to(device),
        times=times.to(device),
    )


def _sent(rows: Tensor, device: torch.device) -> Tensor:
    """Rows drawn on the CPU, on a device that need not be waited for."""
    if device.type == "cuda":
        return rows.pin_memory().to(device, non_blocking=True)
    return rows.to(device)


def share_of(batch: Batch, rank: int, size: int) -> Batch:
    """The part of a batch that process `rank` of `size` works on."""
    each = len(batch.rows) // size
    mine = slice(rank * each, (rank + 1) * each)
    return Batch(*(tensor[mine] for tensor in vars(batch).values()))


def fixed_batches(data: TrainingData, chance: Chance, *, limit: int, count: int) -> Sequence[Batch]:
    """Batches of at most `count` of the first `limit` rows, drawn the same way at every call."""
    rows = torch.arange(min(limit, len(data)))
    source = generator(chance.seed, "validation")
    return [batch_of(data, part, chance, source) for part in torch.split(rows, count)]


def _noisy(conditions: Tensor, most: float, source: torch.Generator) -> Tensor:
    """Conditions [b, e] with noise on them, as long as before."""
    if not most:
        return conditions
    drawn_on = source.device
    levels = most * torch.rand((len(conditions), 1), generator=source, device=drawn_on)
    noise = levels * torch.randn(conditions.shape, generator=source, device=drawn_on)
    length: Tensor = conditions.norm(dim=1, keepdim=True)
    unit = conditions * math.sqrt(conditions.shape[1]) / length.clamp(min=1e-12)
    direction: Tensor = functional.normalize(unit + noise.to(conditions.device))
    return direction * length


def _conditions(
    data: TrainingData, rows: Tensor, images: Tensor, chance: Chance, uniform: Tensor
) -> Tensor:
    """`images` [b, e], or one of each row's captions, as `uniform` [2, b] decides."""
    if not len(data.text_conditions):
        return images
    starts, counts = data.text_starts[rows], data.text_starts[rows + 1] - data.text_starts[rows]
    counts = counts if chance.captions is None else counts.clamp(max=chance.captions)
    by_text, place = uniform[0] < chance.text_share, uniform[1]
    chosen = (starts + (place * counts).long()).clamp(max=len(data.text_conditions) - 1)
    by_text = by_text & (counts > 0)
    return torch.where(by_text[:, None], data.text_conditions[chosen], images)

"""From raw CLIP embeddings to the conditions that the networks see.

CLIP's picture and text embeddings lie in two separate cones (the modality gap). Both are scaled to
unit length and centred with their own mean over the train split. A text is then mapped to where
its picture's embedding would be expected by ridge regression, fitted on the train pairs in closed
form. Conditions of both kinds end on the sphere of radius sqrt(e): their values have unit size on
average.

Dimensions: n pictures, m captions, e embedding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

RIDGE_PENALTIES = tuple(10.0**power for power in range(-4, 3))


@dataclass(frozen=True)
class Pairs:
    """Raw embeddings of the pictures and captions of one split.

    Attributes:
        images: [n, e].
        texts: [m, e].
        rows: int64 [m], the picture that each text belongs to.
    """

    images: Tensor
    texts: Tensor
    rows: Tensor


class Conditioning(nn.Module):
    """Statistics of the train split's embeddings and the ridge map from texts to pictures."""

    image_mean: Tensor
    text_mean: Tensor
    text_to_image: Tensor

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        self.register_buffer("image_mean", torch.zeros(embed_dim))
        self.register_buffer("text_mean", torch.zeros(embed_dim))
        self.register_buffer("text_to_image", torch.eye(embed_dim))

    def of_images(self, vectors: Tensor) -> Tensor:
        """Conditions [n, e] of raw picture embeddings [n, e]."""
        return _to_sphere(_centred(vectors, self.image_mean))

    def of_texts(self, vectors: Tensor) -> Tensor:
        """Conditions [m, e] of raw text embeddings [m, e]."""
        return _to_sphere(_centred(vectors, self.text_mean) @ self.text_to_image)

    def fit(self, train: Pairs, val: Pairs) -> float:
        """Take means and the map from `train`; the ridge penalty is the best one on `val`.

        Returns:
            Mean cosine between the conditions of val's texts and of their pictures, with the
            chosen penalty. The split by picture keeps captions of a val picture out of the fit.
        """
        self.image_mean.copy_(functional.normalize(train.images, dim=1).mean(0))
        self.text_mean.copy_(functional.normalize(train.texts, dim=1).mean(0))
        texts = _centred(train.texts, self.text_mean).double()
        images = _centred(train.images, self.image_mean)[train.rows].double()
        fits = []
        for penalty in RIDGE_PENALTIES:
            self.text_to_image.copy_(ridge(texts, images, penalty))
            fits.append((self._mean_cosine(val), penalty, self.text_to_image.clone()))
        cosine, _, best = max(fits, key=lambda fit: fit[:2])
        self.text_to_image.copy_(best)
        return cosine

    def _mean_cosine(self, pairs: Pairs) -> float:
        images = self.of_images(pairs.images)[pairs.rows]
        return float(functional.cosine_similarity(self.of_texts(pairs.texts), images).mean())


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


def _centred(vectors: Tensor, mean: Tensor) -> Tensor:
    unit: Tensor = functional.normalize(vectors, dim=1)
    return unit - mean


def _to_sphere(vectors: Tensor) -> Tensor:
    direction: Tensor = functional.normalize(vectors, dim=1)
    return direction * math.sqrt(vectors.shape[1])

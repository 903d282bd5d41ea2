"""From raw CLIP embeddings to the conditions that the networks see.

CLIP's picture and text embeddings lie in two separate cones (the modality gap). Both are scaled to
unit length and centred with their own mean over the train split. A text is then mapped to where
its picture's embedding would be expected, by a prior fitted on the train pairs. Conditions of both
kinds end on the sphere of radius sqrt(e): their values have unit size on average.

Dimensions: n pictures, m captions, k samples, e embedding.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bucolic.models.text_priors import LADDER, Centred, mean_cosine


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
    """Statistics of the train split's embeddings, and the prior from texts to pictures.

    Attributes:
        text_draws: how many pictures' embeddings a prompt's prior draws, of which the one most like
            the text is taken; 0 takes the expected one.
    """

    image_mean: Tensor
    text_mean: Tensor

    def __init__(self, embed_dim: int, text_prior: str = "ridge", text_draws: int = 0) -> None:
        super().__init__()
        self.register_buffer("image_mean", torch.zeros(embed_dim))
        self.register_buffer("text_mean", torch.zeros(embed_dim))
        self.text_prior = LADDER[text_prior](embed_dim)
        self.text_draws = text_draws
        self.as_image = text_prior == "none"

    def of_images(self, vectors: Tensor) -> Tensor:
        """Conditions [n, e] of raw picture embeddings [n, e]."""
        return to_sphere(_centred(vectors, self.image_mean))

    @torch.no_grad()
    def of_texts(self, vectors: Tensor, noise: Tensor | None = None) -> Tensor:
        """Conditions [m, e] of raw text embeddings [m, e].

        Args:
            vectors: [m, e].
            noise: [m, k, e], standard normal, where k embeddings are drawn of each; of these the
                one is taken that is most like the text, as unCLIP takes the better of two. None
                takes the expected one.
        """
        texts = _centred(vectors, self.text_mean)
        if noise is None:
            return to_sphere(self.text_prior(texts))
        drawn = torch.stack([self.text_prior(texts, each) for each in noise.unbind(1)])
        alike = functional.cosine_similarity(drawn + self.image_mean, vectors[None], dim=2)
        return to_sphere(drawn[alike.argmax(0), torch.arange(len(texts), device=texts.device)])

    def fit(self, train: Pairs, val: Pairs, seed: int = 0) -> float:
        """Take means and the map from `train`; what is to be chosen is what is best on `val`.

        Args:
            train: its pairs.
            val: likewise. The split by picture keeps captions of a val picture out of the fit.
            seed: of the rungs that learn by stochastic descent.

        Returns:
            Mean cosine between the conditions of val's texts and of their pictures.
        """
        self.image_mean.copy_(functional.normalize(train.images, dim=1).mean(0))
        texts = train.images if self.as_image else train.texts
        self.text_mean.copy_(functional.normalize(texts, dim=1).mean(0))
        held_out = self.centred(val)
        self.text_prior.fit(self.centred(train), held_out, seed)
        return mean_cosine(self.text_prior, held_out)

    def centred(self, pairs: Pairs) -> Centred:
        """The pairs as the prior sees them."""
        images = _centred(pairs.images, self.image_mean)[pairs.rows]
        return Centred(_centred(pairs.texts, self.text_mean), images, pairs.rows)


def to_sphere(vectors: Tensor) -> Tensor:
    """Vectors [n, e] at length sqrt(e)."""
    direction: Tensor = functional.normalize(vectors, dim=1)
    return direction * math.sqrt(vectors.shape[1])


def _centred(vectors: Tensor, mean: Tensor) -> Tensor:
    unit: Tensor = functional.normalize(vectors, dim=1)
    return unit - mean

"""CLIP's two towers as functions from pictures and texts to vectors that depend on nothing else.

The last bits of a vector change with the shape of the batch it was computed in. Image batches are
therefore zero-padded to a fixed number of rows, and texts are grouped by their own token length,
rounded up to a multiple of 8: the same picture or text gives the same bytes whatever its company.
Cutting the padding off a text is exact where the tower is causal and reads its end-of-text token
(CLIP, Radford et al. 2021, arXiv:2103.00020), and saves most of the work: COCO's captions use 14
of 77 tokens on average.

Any number of threads may ask the same towers: no call changes them.
"""

import copy
import importlib.metadata
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import Compose, ToTensor

from bucolic.base.device import choose_precision
from bucolic.base.engine import chunked
from bucolic.seeing.clip.checkpoint import loading_error, weights_digest, weights_of
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.shipped import SHIPPED, TRAINED_ON, register

IMAGE_ROWS = 64
TEXT_ROWS = 128
TOKEN_STEP = 8
Vectors = NDArray[np.float32]
# Of the process and not of the towers, which are pickled and copied.
_LOADING, _TOKENIZING = threading.Lock(), threading.Lock()


@dataclass(frozen=True)
class Towers:
    """Loaded towers with their preprocessing.

    Attributes:
        model: open_clip's model, in evaluation mode on `device`; open_clip is not typed.
        preprocess: open_clip's own transform, RGB picture to float32 [3, h, w].
        tokenize: texts to int64 [n, context length].
        device: torch device.
        provenance: what a vector's origin is compared by; see data/embeddings.py.
    """

    model: Any
    preprocess: Callable[[Image.Image], Tensor]
    tokenize: Callable[[Sequence[str]], Tensor]
    device: str
    provenance: dict[str, Any]

    @property
    def scale(self) -> float:
        """The factor on cosines before the softmax that this CLIP was trained with."""
        return float(torch.as_tensor(self.model.logit_scale).exp())

    def embed_images(self, pictures: Sequence[Image.Image]) -> Vectors:
        """Embed RGB pictures of any size; float32 [n, e], not normalised."""
        return self.embed_pixels([self.preprocess(picture) for picture in pictures])

    def embed_pixels(self, pixels: Iterable[Tensor]) -> Vectors:
        """Embed preprocessed pictures, float32 [3, h, w] each; float32 [n, e].

        Of an iterator, no more pictures are held than are in a batch.
        """
        parts = [
            self._padded(self.model.encode_image, torch.stack(batch), IMAGE_ROWS)
            for batch in chunked(pixels, IMAGE_ROWS)
        ]
        return np.concatenate(parts) if parts else self._nothing()

    def text_lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """How many tokens each text is computed in: int64 [n]."""
        lengths = [self._bucket_lengths(self._tokens(batch)) for batch in _batches(texts, 4096)]
        return np.concatenate([np.empty(0, np.int64), *lengths])

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Embed texts; float32 [n, e], not normalised. Texts over the context are cut."""
        if not texts:
            return self._nothing()
        tokens = self._tokens(texts)
        lengths = self._bucket_lengths(tokens)
        vectors = np.empty((len(texts), self.provenance["embed_dim"]), np.float32)
        for length in sorted(set(lengths.tolist())):
            encode = _cut_to(self.model, length).encode_text
            for batch in _batches(np.flatnonzero(lengths == length), TEXT_ROWS):
                vectors[batch] = self._padded(encode, tokens[batch, :length], TEXT_ROWS)
        return vectors

    def feature_maps(self, pictures: Sequence[Image.Image], side: int) -> Tensor:
        """Feature maps from inside the image tower, float16 [n, f, side, side] on the CPU.

        Of the maps that are at least so fine, or of all where none is, the deepest know best what
        is seen.
        """
        pixels = [self.preprocess(picture) for picture in pictures]

        def encode(batch: Tensor) -> Tensor:
            found = self.model.visual.forward_intermediates(batch, intermediates_only=True)
            maps: list[Tensor] = found["image_intermediates"]
            fine = [m for m in maps if m.shape[-1] >= side] or maps
            return functional.adaptive_avg_pool2d(fine[-1], side)

        parts = [
            torch.from_numpy(self._padded(encode, torch.stack(list(batch)), IMAGE_ROWS)).half()
            for batch in _batches(pixels, IMAGE_ROWS)
        ]
        return torch.cat(parts)

    def in_precision(self, precision: str) -> "Towers":
        """The same towers, computing in "fp32" or "bf16"."""
        return replace(self, provenance=self.provenance | {"precision": precision})

    def _tokens(self, texts: Sequence[str]) -> Tensor:
        with _TOKENIZING:  # some of open_clip's tokenizers keep the padding of a call in themselves
            return self.tokenize(list(texts))

    def _bucket_lengths(self, tokens: Tensor) -> NDArray[np.int64]:
        context = tokens.shape[1]
        if not _is_causal(self.model):
            return np.full(len(tokens), context)
        # The end-of-text token has the highest id of CLIP's vocabulary.
        used = tokens.argmax(dim=-1).numpy() + 1
        rounded: NDArray[np.int64] = -(-used // TOKEN_STEP) * TOKEN_STEP
        return np.minimum(rounded, context)

    def _padded(self, encode: Callable[[Tensor], Tensor], batch: Tensor, rows: int) -> Vectors:
        padded = torch.zeros((rows, *batch.shape[1:]), dtype=batch.dtype)
        padded[: len(batch)] = batch
        bf16 = self.provenance["precision"] == "bf16"
        with (
            torch.inference_mode(),
            torch.autocast(torch.device(self.device).type, dtype=torch.bfloat16, enabled=bf16),
        ):
            vectors = encode(padded.to(self.device))
        return vectors[: len(batch)].float().cpu().numpy()

    def _nothing(self) -> Vectors:
        return np.empty((0, self.provenance["embed_dim"]), np.float32)


def load_towers(config: ClipConfig, device: str) -> Towers:
    """Load towers through open_clip's own factory, which keeps its models in one table.

    torch's own random state is left as it was.

    Args:
        config: which model and weights.
        device: torch device.

    Raises:
        ParamsError: open_clip knows no such model, or no such weights of it.
        TransientError: the hub that holds the weights cannot be reached now.
    """
    with _LOADING, torch.random.fork_rng(devices=[]):
        model, preprocess, tokenize = _made(config, device)
    model.eval().requires_grad_(requires_grad=False)
    return Towers(
        model=model,
        preprocess=_in_float32(preprocess),
        tokenize=tokenize,
        device=device,
        provenance=_provenance(config, model, preprocess, device),
    )


def _in_float32(preprocess: Any) -> Any:
    """The same transform, whatever type of floats the caller has made torch's default."""
    steps = [_to_tensor if isinstance(step, ToTensor) else step for step in preprocess.transforms]
    return Compose(steps)


def _to_tensor(picture: Image.Image) -> Tensor:
    """An RGB picture as float32 [3, h, w] in [0, 1]; torchvision's own takes the default type."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous()
    return pixels.to(torch.float32) / 255


def _made(config: ClipConfig, device: str) -> tuple[Any, Any, Any]:
    if config.model in SHIPPED:
        register()
    pretrained = weights_of(config)
    try:
        model, _, preprocess = open_clip.create_model_and_transforms(
            config.model, pretrained=pretrained, device=device
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise loading_error(config, error) from None
    return model, preprocess, open_clip.get_tokenizer(config.model)


def _provenance(config: ClipConfig, model: Any, preprocess: object, device: str) -> dict[str, Any]:
    packages = ("open_clip_torch", "torch", "torchvision", "pillow")
    return {
        "model": config.model,
        "pretrained": config.pretrained,
        "weights_sha256": weights_digest(config, model),
        "preprocessing": " ".join(str(preprocess).split()),
        "precision": choose_precision(config.precision, device),
        "device": torch.device(device).type,
        "embed_dim": _embed_dim(model),
        "trained_on": TRAINED_ON if config.model in SHIPPED else "photographs",
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def _embed_dim(model: Any) -> int:
    with torch.inference_mode():
        tokens = torch.zeros(1, int(model.context_length), dtype=torch.long)
        device = next(model.parameters()).device
        return int(model.encode_text(tokens.to(device)).shape[-1])


def _is_causal(model: Any) -> bool:
    """Whether texts may be cut after their end: causal attention, pooled at the end token."""
    return isinstance(model, open_clip.CLIP) and (
        model.attn_mask is not None and getattr(model, "text_pool_type", "") == "argmax"
    )


def _cut_to(model: Any, length: int) -> Any:
    """A view of an open_clip.CLIP that takes texts of `length` tokens; itself takes the longest.

    The view has the model's weights but a positional embedding and a mask of its own.
    """
    if length == model.context_length or not _is_causal(model):
        return model
    view = copy.copy(model)
    for tensors in ("_parameters", "_buffers"):  # which copy.copy would share with the model
        vars(view)[tensors] = dict(vars(model)[tensors])
    view.attn_mask = model.attn_mask[:length, :length]
    positions = model.positional_embedding[:length]
    view.positional_embedding = nn.Parameter(positions, requires_grad=False)
    return view


def _batches(items: Any, size: int) -> Iterator[Any]:
    for start in range(0, len(items), size):
        yield items[start : start + size]

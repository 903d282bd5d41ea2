"""embed: CLIP vectors of the chosen images and of all their captions, computing only new ones."""

import hashlib
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bucolic.base.engine import ordered_map
from bucolic.base.errors import ParamsError
from bucolic.base.files import fingerprint, replacing
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.data.display import VERSION as DISPLAY_VERSION
from bucolic.data.embeddings import (
    SAME_TOWERS,
    CaptionEmbeddings,
    ImageEmbeddings,
    Vectors,
    write_captions,
    write_images,
)
from bucolic.data.images import ImageRow, decoded, read_index
from bucolic.data.original_store import OriginalStore
from bucolic.data.pillow import prepare_pillow
from bucolic.data.selection import Chosen, read_chosen
from bucolic.data.squares import Cropping, Subject
from bucolic.data.vector_store import VectorStore
from bucolic.seeing.clip.config import ClipConfig

logger = logging.getLogger(__name__)

if TYPE_CHECKING:
    from torch import Tensor

    from bucolic.seeing.clip.towers import Towers

STORE_KEY = (*SAME_TOWERS, "precision", "device", "versions")
LEAST_COSINE = 0.9995  # of a bf16 vector to that of fp32
COMPARED = 64  # images and captions that this is measured on


def embed(
    selection: Path,
    images: Path,
    out: Path,
    *,
    clip: ClipConfig,
    shard: Cropping,
    runtime: Runtime,
) -> Summary:
    """Write image and caption vectors; what the store in the cache holds is not computed again.

    Args:
        selection: the Parquet file of the filter stage.
        images: folder of the images stage.
        out: folder to write, see data/embeddings.py.
        clip: the towers.
        shard: what of each picture is looked at.
        runtime: its cache holds originals and vectors; each finished part is kept when the run is
            killed.

    Raises:
        ParamsError: towers that cannot be loaded, or whose bf16 is not fit for use.
        DataError: an input is missing or of another format.
    """
    from bucolic.base.device import choose_device, products_in
    from bucolic.seeing.clip.towers import load_towers

    if clip.allow_mismatch:
        logger.warning("clip.allow_mismatch is set: scores of %s may mean little here", clip.model)
    towers = load_towers(clip, runtime.engine.device_of(choose_device(runtime.device)))
    folder = fingerprint([towers.provenance[key] for key in STORE_KEY])
    store = runtime.cache / "embeddings" / folder
    rows = [row for row in read_index(images) if row.status == "ok"]
    chosen = read_chosen(selection, {row.image_id for row in rows}, with_texts=True)
    pictures = [_Picture(row, chosen.subjects.get(row.image_id), shard) for row in rows]
    image_rows, new_images = _embed_images(pictures, towers, store, runtime)
    with products_in("fp32"):
        cosine = _cosine_to_fp32(pictures, chosen.texts, towers, runtime)
    caption_rows, new_captions = _embed_captions(chosen, towers, store, runtime)
    with replacing(out) as partial:
        partial.mkdir()
        write_images(partial / "images.parquet", image_rows, towers.provenance)
        write_captions(partial / "captions.parquet", caption_rows, towers.provenance)
    summary = _summarise(
        len(image_rows.image_ids), len(caption_rows.texts), new_images + new_captions, towers
    )
    details = {} if cosine is None else {"cosine_to_fp32": cosine}
    return replace(summary, details=details, engine=runtime.engine.name)


@dataclass(frozen=True, slots=True)
class _Picture:
    """What the towers see of one original.

    Attributes:
        row: of the original.
        subject: what it shows, and where, where that is known.
        cropping: what of it is looked at.
    """

    row: ImageRow
    subject: Subject | None
    cropping: Cropping

    @property
    def key(self) -> str:
        """One word for the original and what of it is looked at."""
        return self.cropping.name_of(str(self.row.sha256), self.subject)

    def pixels(self, originals: OriginalStore, towers: "Towers") -> "Tensor":
        """That as the towers take it."""
        return decoded(
            originals.read(self.row.image_id, str(self.row.sha256)),
            lambda picture, _: towers.preprocess(self.cropping.cut(picture, self.subject)),
        )


def _embed_images(
    pictures: Sequence[_Picture], towers: "Towers", store: Path, runtime: Runtime
) -> tuple[ImageEmbeddings, int]:
    import torch

    threads = runtime.engine.threads(runtime.workers, torch.get_num_threads())
    vectors_of = partial(_seen, towers=towers, cache=runtime.cache, workers=threads)

    def compute(parts: Iterable[list[int]]) -> Iterator[Vectors]:
        return _mapped(
            vectors_of,
            ([pictures[at] for at in places] for places in parts),
            towers.device,
            runtime,
        )

    keys = [picture.key for picture in pictures]
    vectors, new = VectorStore(store / f"images-{DISPLAY_VERSION}").complete(keys, compute)
    ids = np.array([picture.row.image_id for picture in pictures], np.int64)
    digests = tuple(str(picture.row.sha256) for picture in pictures)
    return ImageEmbeddings(ids, digests, vectors), new


def _mapped(
    vectors_of: Callable[[Any], Vectors], parts: Iterable[Any], device: str, runtime: Runtime
) -> Iterator[Vectors]:
    """The vectors of each part, as the engine has them computed."""
    import torch

    return runtime.engine.map(
        partial(_open, vectors_of, torch.get_num_threads()),
        parts,
        cpus=torch.get_num_threads(),
        gpus=int(device.startswith("cuda")),
    )


def _open(
    vectors_of: Callable[[Any], Vectors], threads: int
) -> Callable[[Iterable[Any]], Iterator[Vectors]]:
    """Make a worker ready; the last bits of a vector depend on torch's threads."""
    import torch

    from bucolic.base.device import products_in

    torch.set_num_threads(threads)

    def vectors_of_parts(parts: Iterable[Any]) -> Iterator[Vectors]:
        for part in parts:
            with products_in("fp32"):
                vectors = vectors_of(part)
            yield vectors

    return vectors_of_parts


def _seen(pictures: Sequence[_Picture], towers: "Towers", cache: Path, workers: int) -> Vectors:
    prepare_pillow()
    originals = OriginalStore(cache)

    def pixels_of(picture: _Picture) -> "Tensor":
        return picture.pixels(originals, towers)

    return towers.embed_pixels(ordered_map(pixels_of, pictures, workers=workers))


def _cosine_to_fp32(
    pictures: Sequence[_Picture],
    texts: Sequence[str],
    towers: "Towers",
    runtime: Runtime,
) -> float | None:
    """The least cosine of some vectors in bf16 to the same in fp32; None where all is fp32.

    Raises:
        ParamsError: it is below what makes no difference.
    """
    if towers.provenance["precision"] == "fp32":
        return None
    compared = pictures[:COMPARED]
    in_bf16, in_fp32 = (
        _unit(
            _seen(compared, made, runtime.cache, runtime.workers),
            made.embed_texts(texts[:COMPARED]),
        )
        for made in (towers, towers.in_precision("fp32"))
    )
    cosine = float((in_bf16 * in_fp32).sum(axis=1).min(initial=1.0))
    if not cosine > LEAST_COSINE:  # NaN is below it, too
        raise ParamsError(
            f"clip.precision: bf16 turns vectors of {towers.provenance['model']} to a cosine of "
            f"{cosine:.5f} with those of fp32, below {LEAST_COSINE}: set fp32"
        )
    return cosine


def _unit(*vectors: Vectors) -> Vectors:
    rows = np.concatenate(vectors)
    unit: Vectors = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def _embed_captions(
    chosen: Chosen, towers: "Towers", store: Path, runtime: Runtime
) -> tuple[CaptionEmbeddings, int]:
    texts = chosen.texts
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]

    def compute(parts: Iterable[list[int]]) -> Iterator[Vectors]:
        of_parts = ([texts[place] for place in places] for places in parts)
        return _mapped(towers.embed_texts, of_parts, towers.device, runtime)

    def by_length(places: list[int]) -> list[int]:
        """Texts of one length together, since a batch is padded where there are too few."""
        lengths = towers.text_lengths([texts[place] for place in places])
        return [places[place] for place in np.argsort(lengths, kind="stable")]

    vectors, new = VectorStore(store / "captions").complete(keys, compute, by_length)
    return CaptionEmbeddings(chosen.caption_ids, chosen.image_ids, texts, vectors), new


def _summarise(images: int, captions: int, new: int, towers: "Towers") -> Summary:
    total = images + captions
    return Summary(
        Rows(total, total),
        figures={"images": images, "captions": captions},
        new=new,
        reused=total - new,
        device=towers.provenance["device"],
        precision=towers.provenance["precision"],
    )

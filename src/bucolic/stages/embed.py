"""embed: CLIP vectors of the chosen images and of all their captions, computing only new ones."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bucolic.base.engine import ordered_map
from bucolic.base.errors import ParamsError
from bucolic.base.files import fingerprint, replacing
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.data.coco import Caption
from bucolic.data.display import VERSION as DISPLAY_VERSION
from bucolic.data.display import middle
from bucolic.data.embeddings import (
    SAME_TOWERS,
    CaptionEmbeddings,
    ImageEmbeddings,
    Vectors,
    write_captions,
    write_images,
)
from bucolic.data.images import ImageRow, decode, read_index
from bucolic.data.original_store import OriginalStore
from bucolic.data.selection import read_selection
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
    selection: Path, images: Path, out: Path, *, clip: ClipConfig, runtime: Runtime
) -> Summary:
    """Write image and caption vectors; what the store in the cache holds is not computed again.

    Args:
        selection: the Parquet file of the filter stage.
        images: folder of the images stage.
        out: folder to write, see data/embeddings.py.
        clip: the towers.
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
    towers = load_towers(clip, choose_device(runtime.device))
    folder = fingerprint([towers.provenance[key] for key in STORE_KEY])
    store = runtime.cache / "embeddings" / folder
    with products_in("fp32"):
        image_rows, new_images = _embed_images(images, towers, store, runtime)
        captions = _captions_of(selection, set(image_rows.image_ids.tolist()))
        cosine = _cosine_to_fp32(images, captions, towers, runtime)
        caption_rows, new_captions = _embed_captions(captions, towers, store)
    with replacing(out) as partial:
        partial.mkdir()
        write_images(partial / "images.parquet", image_rows, towers.provenance)
        write_captions(partial / "captions.parquet", caption_rows, towers.provenance)
    summary = _summarise(
        len(image_rows.image_ids), len(caption_rows.texts), new_images + new_captions, towers
    )
    return replace(summary, details={} if cosine is None else {"cosine_to_fp32": cosine})


def _embed_images(
    folder: Path, towers: "Towers", store: Path, runtime: Runtime
) -> tuple[ImageEmbeddings, int]:
    rows = [row for row in read_index(folder) if row.status == "ok"]
    digests = tuple(str(row.sha256) for row in rows)

    def compute(places: list[int]) -> Vectors:
        return _embed_files([rows[place] for place in places], towers, runtime)

    vectors, new = VectorStore(store / f"images-{DISPLAY_VERSION}").complete(digests, compute)
    ids = np.array([row.image_id for row in rows], np.int64)
    return ImageEmbeddings(ids, digests, vectors), new


def _embed_files(rows: Sequence[ImageRow], towers: "Towers", runtime: Runtime) -> Vectors:
    originals = OriginalStore(runtime.cache)

    def pixels_of(row: ImageRow) -> "Tensor":
        return towers.preprocess(middle(decode(originals.read(row))))

    return towers.embed_pixels(ordered_map(pixels_of, rows, workers=runtime.workers))


def _cosine_to_fp32(
    folder: Path,
    captions: Sequence[tuple[int, Caption]],
    towers: "Towers",
    runtime: Runtime,
) -> float | None:
    """The least cosine of some vectors in bf16 to the same in fp32; None where all is fp32.

    Raises:
        ParamsError: it is below what makes no difference.
    """
    if towers.provenance["precision"] == "fp32":
        return None
    rows = [row for row in read_index(folder) if row.status == "ok"][:COMPARED]
    texts = [caption.text for _, caption in captions[:COMPARED]]
    in_bf16, in_fp32 = (
        _unit(_embed_files(rows, made, runtime), made.embed_texts(texts))
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


def _captions_of(selection: Path, image_ids: set[int]) -> list[tuple[int, Caption]]:
    images = [row.image for row in read_selection(selection) if row.image.image_id in image_ids]
    return [(image.image_id, caption) for image in images for caption in image.captions]


def _embed_captions(
    captions: Sequence[tuple[int, Caption]], towers: "Towers", store: Path
) -> tuple[CaptionEmbeddings, int]:
    texts = tuple(caption.text for _, caption in captions)
    keys = [hashlib.sha256(text.encode()).hexdigest() for text in texts]

    def compute(places: list[int]) -> Vectors:
        return towers.embed_texts([texts[place] for place in places])

    def by_length(places: list[int]) -> list[int]:
        """Texts of one length together, since a batch is padded where there are too few."""
        lengths = towers.text_lengths([texts[place] for place in places])
        return [places[place] for place in np.argsort(lengths, kind="stable")]

    vectors, new = VectorStore(store / "captions").complete(keys, compute, by_length)
    caption_ids = np.array([caption.caption_id for _, caption in captions], np.int64)
    image_ids = np.array([image_id for image_id, _ in captions], np.int64)
    return CaptionEmbeddings(caption_ids, image_ids, texts, vectors), new


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

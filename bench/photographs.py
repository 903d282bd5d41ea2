"""What an autoencoder keeps of photographs that it has not seen, beside a blur and the mean image.

    python bench/photographs.py ../shared/coco-mini

The folder is in COCO's layout. Its pictures are dealt into five folds by the digest of their
pixels, so the folds differ in size: three train, one chooses which weights are kept, one is
reconstructed, five times over, with the networks and budget of preset folder, and meadow-clip for
conditions, which the decoder hardly uses. What is beside it: each picture shrunk to 16 and to 8 px
and enlarged again, and the mean of those that trained. So few pictures tell how far such a model is
from photographs, not how far it comes with all of COCO.
"""

import argparse
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from bucolic.base.device import choose_device, choose_precision, products_in
from bucolic.base.files import fingerprint
from bucolic.base.report import NoSink
from bucolic.data.shards import Split, read_split
from bucolic.evaluation.metrics.psnr import psnr_db
from bucolic.evaluation.metrics.ssim import ssim
from bucolic.models.cvae.phases import autoencoder_phase
from bucolic.models.kinds import kind_named
from bucolic.pipeline.params import Params
from bucolic.seeing.clip.towers import load_towers
from bucolic.seeing.metrics.intervals import of_mean
from bucolic.training.build import chance_of, new_model, open_context, recipe_of
from bucolic.training.distributed import World
from bucolic.training.loop import Trainer
from recorded import ROOT, clean_commit, record
from scratch import SHARDS, home_of, make_data, params_of

FOLDS = 5
MEADOW_CLIP = {"model": "meadow-clip", "pretrained": None, "allow_mismatch": True}
Pictures = NDArray[np.uint8]


def main() -> None:
    """Measure all folds, and record means with their intervals over pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, help="seen in training, in place of the preset's")
    parser.add_argument("--out", type=Path, default=ROOT / "bench/results/photographs.json")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    params, device = _params(arguments.folder.resolve(), arguments.images), choose_device()
    asked = fingerprint([params.dataset.root, params.train.autoencoder_images])
    home = home_of(f"photographs-{asked}", clean_commit())
    make_data(home, params)
    pictures = _together([read_split(home / SHARDS, name) for name in ("train", "val", "test")])
    per_picture: dict[str, list[NDArray[np.float64]]] = {}
    for fold, (splits, held_out) in enumerate(_folds(pictures)):
        with products_in(params.train.precision):
            seen = _seen(splits, held_out, params, device, home / f"fold-{fold}")
        for name, shown in seen.items():
            per_picture.setdefault(f"{name}/psnr_db", []).append(psnr_db(shown, held_out.images))
            per_picture.setdefault(f"{name}/ssim", []).append(ssim(shown, held_out.images))
    found = {name: _figure(np.concatenate(values)) for name, values in per_picture.items()}
    about = {
        "device": device,
        "precision": params.train.precision,
        "pictures": len(pictures.images),
        "folds": FOLDS,
        "size_px": params.shard.size_px,
        "images_seen": params.train.autoencoder_images,
    }
    record(out, about | {"figures": found})
    print(json.dumps(found, indent=1))


def _params(folder: Path, images: int | None) -> Params:
    """Preset folder's, over every picture of a folder that has a caption."""
    params = params_of("folder")
    clip = params.clip.model_copy(update=MEADOW_CLIP)
    dataset = params.dataset.model_copy(update={"root": str(folder)})
    chosen = params.filter.model_copy(update={"keywords": ("a",), "match": "substring"})
    changes = {"autoencoder_images": images} if images else {}
    changes["precision"] = choose_precision(params.train.precision, choose_device())
    train = params.train.model_copy(update=changes)
    changed = {"clip": clip, "dataset": dataset, "filter": chosen, "train": train}
    return params.model_copy(update=changed)


def _together(splits: list[Split]) -> Split:
    """All pictures as one split."""
    starts = np.cumsum([0, *(len(split.images) for split in splits)])[:-1]
    rows = [split.caption_rows + start for split, start in zip(splits, starts, strict=True)]
    return Split(
        image_ids=np.concatenate([split.image_ids for split in splits]),
        images=np.concatenate([split.images for split in splits]),
        image_vectors=np.concatenate([split.image_vectors for split in splits]),
        caption_ids=np.concatenate([split.caption_ids for split in splits]),
        caption_rows=np.concatenate(rows),
        captions=tuple(caption for split in splits for caption in split.captions),
        caption_vectors=np.concatenate([split.caption_vectors for split in splits]),
    )


def _folds(pictures: Split) -> Iterator[tuple[dict[str, Split], Split]]:
    """Train and val, and what is held out of both, for each fold."""
    digests = [hashlib.sha256(picture.tobytes()).digest() for picture in pictures.images]
    dealt = np.array([int.from_bytes(digest[:8]) % FOLDS for digest in digests])
    for fold in range(FOLDS):
        val = (fold + 1) % FOLDS
        parts = {"train": ~np.isin(dealt, (fold, val)), "val": dealt == val}
        splits = {name: _only(pictures, kept) for name, kept in parts.items()}
        yield splits, _only(pictures, dealt == fold)


def _only(split: Split, kept: NDArray[np.bool_]) -> Split:
    """Some of the pictures, with their captions."""
    said = kept[split.caption_rows]
    return replace(
        split,
        image_ids=split.image_ids[kept],
        images=split.images[kept],
        image_vectors=split.image_vectors[kept],
        caption_ids=split.caption_ids[said],
        caption_rows=(np.cumsum(kept) - 1)[split.caption_rows[said]],
        captions=tuple(np.asarray(split.captions, dtype=object)[said]),
        caption_vectors=split.caption_vectors[said],
    )


def _seen(
    splits: Mapping[str, Split], held_out: Split, params: Params, device: str, folder: Path
) -> dict[str, Pictures]:
    """The held-out pictures as a trained autoencoder, a blur and the mean image show them."""
    config = params.train
    model, _ = new_model(kind_named(), params.model, splits, config.seed)
    chance = chance_of(config, model.noise_shape)
    context = open_context(
        model, splits, config, chance, World(), device, lambda: load_towers(params.clip, device)
    )
    recipe = recipe_of(config, "autoencoder")
    Trainer(autoencoder_phase(context), recipe, World()).run(folder, NoSink())
    conditions = model.eval().conditions_of_images(held_out.image_vectors)
    mean = np.round(splits["train"].images.mean(axis=0)).astype(np.uint8)
    return {
        "autoencoder": model.reconstruct(torch.from_numpy(held_out.images), conditions).numpy(),
        "blur to 16 px": _blurred(held_out.images, 16),
        "blur to 8 px": _blurred(held_out.images, 8),
        "mean image": np.broadcast_to(mean, held_out.images.shape),
    }


def _blurred(pictures: Pictures, side_px: int) -> Pictures:
    """Pictures averaged down to a side, and enlarged again by cubic interpolation."""
    shown = []
    for picture in pictures.transpose(0, 2, 3, 1):
        small = Image.fromarray(picture).resize((side_px, side_px), Image.Resampling.BOX)
        shown.append(np.asarray(small.resize(picture.shape[:2], Image.Resampling.BICUBIC)))
    return np.stack(shown).transpose(0, 3, 1, 2)


def _figure(values: NDArray[np.float64]) -> dict[str, Any]:
    """Mean over pictures, with its 95 % interval."""
    low, high = of_mean(values)
    return {
        "mean": round(float(values.mean()), 3),
        "interval": [round(low, 3), round(high, 3)],
        "n": len(values),
    }


if __name__ == "__main__":
    main()

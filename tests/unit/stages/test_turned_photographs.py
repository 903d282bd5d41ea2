"""From file to shard: vectors and pixels are those of the picture that a viewer shows."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bucolic.base.runtime import Runtime
from bucolic.data.embeddings import read_embeddings
from bucolic.data.shards import Split, read_rows, read_split
from bucolic.data.squares import Framing
from bucolic.seeing.clip.config import ClipConfig
from bucolic.stages.embed import embed
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images
from bucolic.stages.shard import ShardConfig, shard
from picture_files import png


def photographs(root: Path, *, as_shown: bool) -> None:
    """Twenty photographs, each held upright and again lying on its side with a tag that says so."""
    (root / "annotations").mkdir(parents=True)
    (root / "train2017").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    rng = np.random.default_rng(0)
    images = []
    for i in range(1, 41):
        if i % 2:
            upright = Image.fromarray(rng.integers(0, 255, (48, 32, 3), np.uint8))
        stored = upright if i % 2 else upright.transpose(Image.Transpose.ROTATE_90)
        name = f"{i:012d}.png"
        stored.save(root / "train2017" / name, **({} if i % 2 else {"exif": exif}))
        width, height = upright.size if as_shown else stored.size
        images.append({"id": i, "file_name": name, "width": width, "height": height})
    captions = [{"id": i, "image_id": i, "caption": "a cow"} for i in range(1, 41)]
    content = json.dumps({"images": images, "annotations": captions})
    (root / "annotations/captions_train2017.json").write_text(content)


def run(folder: Path) -> Path:
    """Run filter, images, embed and shard on folder/coco; returns the folder of shards."""
    selection, images, vectors = (folder / name for name in ("chosen.parquet", "images", "vectors"))
    config = FilterConfig(keywords=("cow",), val_share=0.3, test_share=0.3)
    select_images(
        folder / "coco/annotations", selection, selection.with_name("attribution"), config=config
    )
    runtime = Runtime(work=folder / "work", cache=folder / "cache", workers=2)
    get_images(
        folder / "coco", selection, images, config=ImagesConfig(), shard=Framing(), runtime=runtime
    )
    clip = ClipConfig(model="meadow-clip", allow_mismatch=True)
    embed(selection, images, vectors, clip=clip, shard=Framing(), runtime=runtime)
    out, packing = folder / "shards", ShardConfig(size_px=64, crop="centre")
    shard(selection, images, vectors, out, config=packing, runtime=runtime)
    return out


def packed_in(split: Split) -> tuple[list[int], np.ndarray]:
    """Ids and pictures of a split."""
    return split.image_ids.tolist(), split.images


@pytest.mark.parametrize("as_shown", [True, False])
def test_a_photograph_on_its_side_is_embedded_and_packed_upright(tmp_path: Path, as_shown: bool):
    """Either way of annotating its size, it is the same picture as the one that lies upright."""
    photographs(tmp_path / "coco", as_shown=as_shown)
    shards = run(tmp_path)
    vectors = read_embeddings(tmp_path / "vectors")[0].vectors
    np.testing.assert_array_equal(vectors[::2], vectors[1::2])
    assert 20 == len(np.unique(vectors, axis=0))
    splits = [read_split(shards, name) for name in ("train", "val", "test")]
    packed = {i: image for split in splits for i, image in zip(*packed_in(split), strict=True)}
    left_out = {row.image_id: row for row in read_rows(shards) if row.image_id not in packed}
    assert {"near_duplicate"} == {row.status for row in left_out.values()}
    for upright, turned in zip(range(1, 41, 2), range(2, 41, 2), strict=True):
        if upright in packed and turned in packed:
            np.testing.assert_array_equal(packed[upright], packed[turned])
        else:
            twin = {upright: turned, turned: upright}
            assert [twin[i] for i in twin if i in left_out] == [
                left_out[i].copy_of for i in twin if i in left_out
            ]


def test_no_stage_scales_a_line_of_pixels_up_both_ways(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A picture of 1 x 30,000 pixels would be 64 x 1,920,000 before its square is cut out."""
    photographs(tmp_path / "coco", as_shown=True)
    path = tmp_path / "coco/annotations/captions_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0] |= {"width": 1, "height": 30_000}
    path.write_text(json.dumps(content))
    line = png((1, 30_000), 8, 2, [b"\x10\x20\x30"] * 30_000)
    (tmp_path / "coco/train2017/000000000001.png").write_bytes(line)
    sizes, resize = [], Image.Image.resize

    def noted(
        picture: Image.Image, size: tuple[int, int], *more: object, **named: object
    ) -> object:
        sizes.append(size)
        return resize(picture, size, *more, **named)

    monkeypatch.setattr(Image.Image, "resize", noted)
    run(tmp_path)
    assert 80 <= len(sizes)
    assert (64, 64 * 16) == max(tuple(size) for size in sizes)


def test_vectors_of_pictures_shown_otherwise_are_not_used_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The store in the cache outlives a change of what is shown, and keeps the two apart."""
    photographs(tmp_path / "coco", as_shown=True)
    run(tmp_path)
    paths = [tmp_path / name for name in ("chosen.parquet", "images", "again")]
    runtime = Runtime(work=tmp_path / "work", cache=tmp_path / "cache", workers=2)
    clip = ClipConfig(model="meadow-clip", allow_mismatch=True)
    assert 0 == embed(*paths, clip=clip, shard=Framing(), runtime=runtime).new
    monkeypatch.setattr("bucolic.stages.embed.DISPLAY_VERSION", 99)
    assert 40 == embed(*paths, clip=clip, shard=Framing(), runtime=runtime).new

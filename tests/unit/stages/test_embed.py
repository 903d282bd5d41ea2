"""embed: which arithmetic the vectors come from, and what is refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bucolic.base.errors import ParamsError
from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.data.embeddings import Vectors, read_embeddings
from bucolic.data.squares import Cropping, Framing
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import Towers
from bucolic.stages.embed import LEAST_COSINE, embed
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images

PICTURES = 24


@pytest.fixture(scope="module")
def chosen(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The outputs of filter and images: pictures of a few colours, with a caption each."""
    folder = tmp_path_factory.mktemp("chosen")
    (folder / "coco/annotations").mkdir(parents=True)
    (folder / "coco/train2017").mkdir()
    rng = np.random.default_rng(0)
    images = []
    for i in range(1, PICTURES + 1):
        blocks = rng.integers(0, 255, (4, 4, 3), np.uint8)
        picture = Image.fromarray(blocks).resize((96, 64))
        picture.save(folder / f"coco/train2017/{i}.png")
        images.append({"id": i, "file_name": f"{i}.png", "width": 96, "height": 64})
    captions = [
        {"id": image["id"], "image_id": image["id"], "caption": f"{image['id']} cows on grass"}
        for image in images
    ]
    content = json.dumps({"images": images, "annotations": captions})
    (folder / "coco/annotations/captions_train2017.json").write_text(content)
    selection, fetched = folder / "chosen.parquet", folder / "images"
    config = FilterConfig(keywords=("cow",), val_share=0.3, test_share=0.3)
    select_images(
        folder / "coco/annotations", selection, selection.with_name("attribution"), config=config
    )
    runtime = Runtime(work=folder / "work", cache=folder / "cache", workers=2)
    get_images(
        folder / "coco", selection, fetched, config=ImagesConfig(), shard=Framing(), runtime=runtime
    )
    return selection, fetched


def run(
    chosen: tuple[Path, Path], folder: Path, precision: str, **cropping: Any
) -> tuple[Summary, Vectors]:
    """The stage in a folder of its own: its summary, and the vectors of the pictures."""
    runtime = Runtime(folder / "work", folder / "cache", device="cpu", workers=2)
    originals = folder / "cache/originals"
    if not originals.exists():
        originals.parent.mkdir(parents=True)
        originals.symlink_to(chosen[1].parent / "cache/originals")
    clip = ClipConfig(precision=precision, allow_mismatch=True)  # type: ignore[arg-type]
    out, shard = folder / precision, Cropping(**cropping)
    summary = embed(*chosen, out, clip=clip, shard=shard, runtime=runtime)
    return summary, read_embeddings(folder / precision)[0].vectors


def test_vectors_in_bf16_are_kept_apart_and_hardly_differ(
    chosen: tuple[Path, Path], tmp_path: Path
):
    """The store gives no vector of one arithmetic to the other; the cosine is measured."""
    exact, vectors = run(chosen, tmp_path, "fp32")
    rounded, others = run(chosen, tmp_path, "bf16")
    assert ("fp32", {}) == (exact.precision, exact.details)
    assert ("bf16", 2 * PICTURES) == (rounded.precision, rounded.new)
    lengths = np.linalg.norm(vectors, axis=1) * np.linalg.norm(others, axis=1)
    cosines = (vectors * others).sum(axis=1) / lengths
    assert LEAST_COSINE < rounded.details["cosine_to_fp32"] <= cosines.min() + 1e-6
    assert not np.array_equal(vectors, others)


def test_pictures_are_embedded_in_the_memory_of_those_before(
    chosen: tuple[Path, Path], tmp_path: Path, allocator: Any
):
    """Pillow would ask for fresh pages for each one."""
    before = allocator.get_stats()["reused_blocks"]
    run(chosen, tmp_path, "fp32")
    assert allocator.get_stats()["reused_blocks"] > before


def test_a_picture_is_embedded_as_it_is_cropped(chosen: tuple[Path, Path], tmp_path: Path):
    """About a subject on the left it has another vector, which the store keeps apart."""
    selection, images = chosen
    table = pq.read_table(selection)
    for axis, centre in (("x", 10.0), ("y", 32.0)):
        place = table.schema.get_field_index(f"subject_{axis}")
        table = table.set_column(place, table.field(place), [[centre] * PICTURES])
    pq.write_table(table, tmp_path / "subjects.parquet")
    with_subjects = tmp_path / "subjects.parquet", images
    _, centred = run(with_subjects, tmp_path, "fp32")
    about, vectors = run(with_subjects, tmp_path, "fp32", crop="subject")
    assert PICTURES == about.new
    assert not np.isclose(centred, vectors, atol=1e-3).all(axis=1).any()
    again, same = run(with_subjects, tmp_path, "fp32")
    assert 0 == again.new
    np.testing.assert_array_equal(centred, same)


def test_captions_of_one_length_are_embedded_together(
    chosen: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every batch but a length's last is full, wherever the captions stand."""
    monkeypatch.setattr("bucolic.data.vector_store.ITEMS_PER_PART", 8)
    monkeypatch.setattr("bucolic.seeing.clip.towers.TEXT_ROWS", 4)
    long = " beside another cow under a sky of clouds" * 2 + " too"
    selection, images = chosen
    table = pq.read_table(selection)
    captions = [
        [caption | {"text": f"{chr(97 + place)} cow" + long * (place % 2)} for caption in of_image]
        for place, of_image in enumerate(table["captions"].to_pylist())
    ]
    column = table.schema.get_field_index("captions")
    field = table.schema.field("captions")
    mixed = tmp_path / "mixed.parquet"
    pq.write_table(table.set_column(column, field, pa.array(captions, field.type)), mixed)

    batches: list[int] = []
    padded = Towers._padded

    def counting(self: Towers, encode: Any, batch: Any, rows: int) -> Any:
        if rows == 4:
            batches.append(len(batch))
        return padded(self, encode, batch, rows)

    monkeypatch.setattr(Towers, "_padded", counting)
    run((mixed, images), tmp_path, "fp32")
    assert [4] * (PICTURES // 4) == batches


def test_auto_is_what_the_device_computes_natively(
    chosen: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The record says which it was, never `auto`."""
    for tiles, precision in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(
            "bucolic.base.device.torch.cpu.get_capabilities", lambda t=tiles: {"amx_bf16": t}
        )
        assert precision == run(chosen, tmp_path / precision, "auto")[0].precision


def test_a_clip_that_bf16_spoils_is_refused(
    chosen: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """One line says how far its vectors turn, and what to set."""
    monkeypatch.setattr("bucolic.stages.embed.LEAST_COSINE", 1.0)
    said = r"clip\.precision: bf16 turns vectors of meadow-clip to a cosine of 0\.99\d+ .* set fp32"
    with pytest.raises(ParamsError, match=said):
        run(chosen, tmp_path, "bf16")
    assert not (tmp_path / "bf16").exists()

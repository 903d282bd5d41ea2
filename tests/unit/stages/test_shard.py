"""The shard stage: what belongs together is packed together, with the same bytes each time."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bucolic.base.errors import BucolicError, DataError, TransientError
from bucolic.base.report import Summary
from bucolic.base.runtime import Runtime
from bucolic.data.embeddings import (
    CaptionEmbeddings,
    ImageEmbeddings,
    write_captions,
    write_images,
)
from bucolic.data.images import read_index as read_images
from bucolic.data.selection import read_selection
from bucolic.data.shards import ShardRow, read_index, read_rows, read_split
from bucolic.data.split import assign_split
from bucolic.data.squares import Framing
from bucolic.stages import shard as shard_stage
from bucolic.stages.filter import FilterConfig, select_images
from bucolic.stages.images import ImagesConfig, get_images
from bucolic.stages.shard import ShardConfig, shard

CLIP = {
    "model": "m",
    "weights_sha256": "0" * 64,
    "preprocessing": "p",
    "precision": "fp32",
    "embed_dim": 4,
}


@pytest.fixture
def made(coco_folder: Path, tmp_path: Path) -> Path:
    """Selection, images and embeddings whose vectors hold the ids they belong to."""
    return make(coco_folder, tmp_path)


def make(coco_folder: Path, tmp_path: Path) -> Path:
    """Everything that the stage reads, of a folder of images."""
    config = FilterConfig(keywords=("thing",), val_share=0.3, test_share=0.3)
    select_images(
        coco_folder / "annotations",
        tmp_path / "selection.parquet",
        tmp_path / "attribution",
        config=config,
    )
    runtime = Runtime(work=tmp_path / "work", cache=tmp_path / "cache", workers=2)
    selection, images = tmp_path / "selection.parquet", tmp_path / "images"
    get_images(
        coco_folder,
        selection,
        images,
        config=ImagesConfig(),
        shard=Framing(size_px=32),
        runtime=runtime,
    )
    embed(tmp_path, CLIP)
    return tmp_path


def embed(folder: Path, caption_clip: dict[str, object]) -> None:
    """Write embeddings in which each vector is its own id, four times."""
    rows = read_images(folder / "images")
    ids = np.array([row.image_id for row in rows], np.int64)
    digests = tuple(str(row.sha256) for row in rows)
    write_images(
        folder / "embeddings/images.parquet", ImageEmbeddings(ids, digests, four(ids)), CLIP
    )
    chosen = read_selection(folder / "selection.parquet")
    pairs = [(row.image.image_id, c) for row in chosen for c in row.image.captions]
    caption_ids = np.array([caption.caption_id for _, caption in pairs], np.int64)
    captions = CaptionEmbeddings(
        caption_ids,
        np.array([image_id for image_id, _ in pairs], np.int64),
        tuple(caption.text for _, caption in pairs),
        four(caption_ids),
    )
    write_captions(folder / "embeddings/captions.parquet", captions, caption_clip)


def four(ids: np.ndarray) -> np.ndarray:
    """Each id four times, float32 [n, 4]."""
    return np.repeat(ids[:, None], 4, axis=1).astype(np.float32)


def sides() -> dict[str, list[int]]:
    """The ids of each split, as the hash of the id decides."""
    found: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for i in range(1, 41):
        split = assign_split(i, "train2017", held_out=False, val_share=0.3, test_share=0.3)
        found[split].append(i)
    return found


def copy(coco_folder: Path, source: int, *targets: int) -> None:
    """Put the file of one image in the place of others'."""
    paths = [coco_folder / "train2017" / f"{i:012d}.jpg" for i in (source, *targets)]
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())


def pack(folder: Path, **config: object) -> Summary:
    """Run the stage."""
    return shard(
        folder / "selection.parquet",
        folder / "images",
        folder / "embeddings",
        folder / "shards",
        config=ShardConfig(**{"size_px": 32, "crop": "centre", "images_per_shard": 7, **config}),
        runtime=Runtime(work=folder / "work", cache=folder / "cache", workers=2),
    )


def test_pictures_captions_and_vectors_stay_together(made: Path):
    """Each sample holds its own image's pixels, all its captions and the vectors of both."""
    summary = pack(made)
    index = read_index(made / "shards")
    assert (40, 40) == (summary.rows.into, sum(s["images"] for s in index.splits.values()))
    seen = set()
    for name in ("train", "val", "test"):
        split = read_split(made / "shards", name)
        seen |= set(split.image_ids.tolist())
        assert (len(split.image_ids), 3, 32, 32) == split.images.shape
        np.testing.assert_array_equal(split.image_vectors, four(split.image_ids))
        np.testing.assert_array_equal(split.caption_vectors, four(split.caption_ids))
        owners = split.image_ids[split.caption_rows]
        np.testing.assert_array_equal(split.caption_ids // 10, owners)
        assert len(split.captions) == 2 * len(split.image_ids)
    assert seen == set(range(1, 41))


def test_shards_are_the_same_bytes_each_time(made: Path):
    """Two runs write equal tars and an equal index; no clock gets in."""
    digests = []
    for _ in range(2):
        pack(made)
        paths = sorted((made / "shards").iterdir())
        digests.append({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths})
    assert digests[0] == digests[1]
    with tarfile.open(made / "shards/train-000000.tar") as tar:
        assert {0} == {member.mtime for member in tar}
        assert 4 * 7 == len(tar.getmembers())


def test_captions_of_other_towers_are_refused(made: Path):
    """Images embedded by one CLIP and captions by another never meet in a shard."""
    embed(made, {**CLIP, "weights_sha256": "1" * 64})
    with pytest.raises(DataError, match="another CLIP"):
        pack(made)


def test_embeddings_of_another_file_are_refused(made: Path):
    """Vectors are joined by the file's digest, not by an id that may have got a new file."""
    from bucolic.data.embeddings import read_embeddings

    images, _, _ = read_embeddings(made / "embeddings")
    other = ImageEmbeddings(images.image_ids, ("f" * 64, *images.sha256[1:]), images.vectors)
    write_images(made / "embeddings/images.parquet", other, CLIP)
    with pytest.raises(DataError, match="not of the same images"):
        pack(made)


def test_an_embedding_that_is_no_number_is_refused_by_its_image(made: Path):
    """A CLIP that overflows would spoil every mean that is taken of its vectors."""
    from bucolic.data.embeddings import read_embeddings

    images, _, _ = read_embeddings(made / "embeddings")
    train = sides()["train"]
    spoilt = np.where(images.image_ids[:, None] == train[0], np.nan, images.vectors)
    vectors = spoilt.astype(np.float32)
    other = ImageEmbeddings(images.image_ids, images.sha256, vectors)
    write_images(made / "embeddings/images.parquet", other, CLIP)
    pack(made)

    said = rf"embedding of image {train[0]} is no number \(1 images, 0 captions\): embed again"
    with pytest.raises(DataError, match=said):
        read_split(made / "shards", "train")
    assert len(read_split(made / "shards", "val").images) > 0


def test_shards_of_an_unknown_version_are_refused(made: Path):
    """A reader does not guess at a format it does not know."""
    pack(made)
    path = made / "shards/index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 99}))
    with pytest.raises(DataError, match="not of version 1"):
        read_split(made / "shards", "train")


@pytest.mark.parametrize("name", ["../train-000000.tar", "pipe:date", "val-000000.tar", "x"])
def test_an_edited_index_leads_to_no_other_file(made: Path, name: str):
    """Training reads shards of the split asked for, in their folder, and nothing else."""
    pack(made)
    path = made / "shards/index.json"
    content = json.loads(path.read_text())
    content["splits"]["train"]["files"][0] = name
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="is not the name of a shard of train"):
        read_split(made / "shards", "train")


def test_no_two_splits_share_a_file(coco_folder: Path, tmp_path: Path):
    """Test keeps its own, then val; the others are rows that name what they are copies of."""
    train, val, test = (sides()[name] for name in ("train", "val", "test"))
    copy(coco_folder, train[0], val[0], test[3], test[2])
    copy(coco_folder, val[1], train[-1])
    copy(coco_folder, train[1], train[2])
    made = make(coco_folder, tmp_path)
    summary = pack(made)
    packed = {name: read_split(made / "shards", name).image_ids.tolist() for name in sides()}
    assert {"train": train[1:-1], "val": val[1:], "test": test} == packed
    rows = {row.image_id: row for row in read_rows(made / "shards")}
    kept = f"the same file as image {test[2]} of test"
    expected = ShardRow(train[0], "train", "duplicate", kept, test[2])
    assert (expected, test[2]) == (rows[train[0]], rows[val[0]].copy_of)
    kept = f"the same file as image {val[1]} of val"
    assert ShardRow(train[-1], "train", "duplicate", kept, val[1]) == rows[train[-1]]
    same = f"the same file as image {train[1]} of train"
    assert ShardRow(train[2], "train", "ok", same, train[1]) == rows[train[2]]
    assert list(range(1, 41)) == list(rows)
    assert 37 == sum(row.status == "ok" for row in rows.values())
    assert (40, 37, 3) == (summary.rows.into, summary.rows.out, summary.rows.failed)
    dropped = {"train": 2, "val": 1}
    assert {"files": 3, "images": 8, "dropped": dropped} == summary.details["duplicates"]


def test_pictures_come_out_of_the_decode_that_checked_them(
    made: Path, monkeypatch: pytest.MonkeyPatch
):
    """No original is decoded again, and where squares are lost the tars are the same."""
    pack(made)
    tars = {path.name: path.read_bytes() for path in (made / "shards").iterdir()}
    decoded = []
    decode = shard_stage.decoded
    monkeypatch.setattr(shard_stage, "decoded", lambda *a: decoded.append(a) or decode(*a))
    pack(made)
    assert [] == decoded
    shutil.rmtree(made / "cache/squares")
    pack(made)
    assert 40 == len(decoded)
    assert tars == {path.name: path.read_bytes() for path in (made / "shards").iterdir()}


@pytest.mark.parametrize(("form", "ending"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp")])
def test_shards_of_every_format_are_read_here_and_by_webdataset(made: Path, form: str, ending: str):
    """The reader finds the pictures, and plain WebDataset decodes them under the same name."""
    import webdataset

    pack(made, format=form)
    split = read_split(made / "shards", "train")
    shards = [str(path) for path in sorted((made / "shards").glob("train-*.tar"))]
    samples = list(webdataset.WebDataset(shards, shardshuffle=False).decode("rgb8"))
    assert split.image_ids.tolist() == [int(sample["__key__"]) for sample in samples]
    theirs = np.stack([sample[ending] for sample in samples]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(split.images, theirs)


def test_a_picture_coded_again_is_left_out_of_the_split_that_matters_less(
    coco_folder: Path, tmp_path: Path
):
    """It is a row with the other's id, no failure of images, and in no shard."""
    train, test = sides()["train"][0], sides()["test"][0]
    paths = [coco_folder / "train2017" / f"{i:012d}.jpg" for i in (test, train)]
    Image.open(paths[0]).save(paths[1], quality=60)
    made = make(coco_folder, tmp_path)
    summary = pack(made)
    rows = {row.image_id: row for row in read_rows(made / "shards")}
    reason = f"the same picture as image {test} of test"
    assert ShardRow(train, "train", "near_duplicate", reason, test) == rows[train]
    assert train not in read_split(made / "shards", "train").image_ids
    assert test in read_split(made / "shards", "test").image_ids
    assert (40, 39, 1) == (summary.rows.into, summary.rows.out, summary.rows.failed)
    assert {"dropped": {"train": 1, "val": 0}} == summary.details["near_duplicates"]


@pytest.mark.parametrize("quality", [None, 60], ids=["the file", "coded again"])
def test_a_pair_that_is_left_over_fails_the_run(
    coco_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quality: int | None
):
    """What the shards themselves hold is looked over, whatever was meant to be in them."""
    train, test = sides()["train"][0], sides()["test"][0]
    copy(coco_folder, test, train)
    if quality:
        path = coco_folder / "train2017" / f"{train:012d}.jpg"
        Image.open(path).save(path, quality=quality)
    made = make(coco_folder, tmp_path)
    monkeypatch.setattr(
        "bucolic.data.repeats.Accounts.used",
        lambda self, split: {row.image_id for row in self.rows if row.split == split},
    )
    line = f"two splits, 1 in all, first that of {train} of train and {test} of test"
    with pytest.raises(BucolicError, match=line):
        pack(made)
    assert not (made / "shards").exists()


def test_pictures_that_memory_cannot_hold_are_read_from_disk(
    made: Path, monkeypatch: pytest.MonkeyPatch
):
    """Out of a file that has no name by then: what is looked at is read."""
    pack(made)
    in_memory = read_split(made / "shards", "train")
    monkeypatch.setattr("bucolic.data.shards.free_memory_bytes", lambda: 0)
    on_disk = read_split(made / "shards", "train", made / "spill")
    assert isinstance(on_disk.images, np.memmap)
    np.testing.assert_array_equal(in_memory.images, on_disk.images)
    assert [] == list((made / "spill").iterdir())


def test_a_disk_that_fills_up_before_pictures_are_mapped_is_for_now(
    made: Path, monkeypatch: pytest.MonkeyPatch
):
    """Room is taken first: whoever writes where none is left is killed without a word."""
    pack(made)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bucolic.data.shards.free_memory_bytes", lambda: 0)
    monkeypatch.setattr("bucolic.data.shards.os.posix_fallocate", full)
    with pytest.raises(TransientError, match=r"no space left at .*spill"):
        read_split(made / "shards", "train", made / "spill")
    assert [] == list((made / "spill").iterdir())


def test_what_a_worker_elsewhere_left_half_written_is_no_part_of_the_result(
    made: Path, monkeypatch: pytest.MonkeyPatch
):
    """Were it killed on another machine, nobody here could say that it has ended."""
    write = shard_stage.write_tar

    def torn_first(path: Path, *samples: object, **about: object) -> object:
        path.with_name(f".{path.name}.0.elsewhere-1.tmp").write_bytes(b"half")
        return write(path, *samples, **about)

    monkeypatch.setattr(shard_stage, "write_tar", torn_first)
    pack(made)
    assert not [path for path in (made / "shards").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("key", ["images", "captions"])
@pytest.mark.parametrize("change", [-1, 1])
def test_shards_that_hold_other_than_the_index_says_are_refused(made: Path, key: str, change: int):
    """Fewer or more, with both numbers."""
    pack(made)
    path = made / "shards/index.json"
    content = json.loads(path.read_text())
    entry = content["splits"]["val"]
    told = f"holds {entry['images']} images, {entry['captions']} captions, index.json says"
    entry[key] += change
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=told):
        read_split(made / "shards", "val")


def test_a_damaged_shard_or_index_is_one_line(made: Path):
    """Wherever it breaks off, and whatever the index has become."""
    pack(made)
    path = made / "shards/train-000000.tar"
    whole = path.read_bytes()
    for size in (0, 700, len(whole) // 2, len(whole) // 2 + 512):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError, match="run the shard stage again"):
            read_split(made / "shards", "train")
    index = made / "shards/index.json"
    content = json.loads(index.read_text())
    for odd in ([], 7, {"version": 1}, content | {"splits": {"train": {}}}):
        index.write_text(json.dumps(odd))
        with pytest.raises(DataError, match=r"index\.json.*run the shard stage again"):
            read_split(made / "shards", "train")
    index.write_bytes(b"\xff\xfe{")
    with pytest.raises(DataError, match=r"index\.json.*run the shard stage again"):
        read_split(made / "shards", "train")


def test_without_copies_none_are_counted(made: Path):
    """The details say so, and every row is ok."""
    duplicates = pack(made).details["duplicates"]
    assert {"files": 0, "images": 0, "dropped": {"train": 0, "val": 0}} == duplicates
    assert {"ok"} == {row.status for row in read_rows(made / "shards")}


def test_a_split_of_copies_alone_is_told_in_one_line(coco_folder: Path, tmp_path: Path):
    """Nothing is written where every picture of val is one of test."""
    val, test = sides()["val"], sides()["test"]
    copy(coco_folder, test[0], *val)
    made = make(coco_folder, tmp_path)
    line = (
        f"no image of val is left: {len(val)} of {len(val)} are copies, first {val[0]} "
        f"\\(the same file as image {test[0]} of test\\): remove the copies from dataset.root"
    )
    with pytest.raises(DataError, match=line):
        pack(made)
    assert not (made / "shards").exists()

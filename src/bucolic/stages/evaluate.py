"""evaluate: honest figures on the held-out test split, each between its bounds.

It shows samples, and for drawn data sets bounds, which hold real images: those of photographs
belong to their authors and stay out of reports.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from bucolic.base.files import fingerprint
from bucolic.base.report import Rows, Summary
from bucolic.base.runtime import Runtime
from bucolic.base.section import Section
from bucolic.evaluation.table import ARMS, MODEL
from bucolic.seeing.clip.config import ClipConfig

if TYPE_CHECKING:
    from bucolic.base.sheet import Block, Sheet
    from bucolic.evaluation.scores import Sitting
    from bucolic.evaluation.study import Findings, Study
    from bucolic.models.trained import TrainedModel

ORDINARY_SHOWN, HELD_OUT_SHOWN, COMPARED = 12, 4, 5


class EvaluateConfig(Section):
    """How many prompts and draws, the seed of every draw, and who judges.

    Attributes:
        prompts: most prompts of either slice, ordinary ones and combinations never trained on.
        draws: pictures of each prompt; `best_of` picks one of them.
        seed: seed of generation, distractors, derangement and bootstrap.
        judge: a CLIP that judges beside the one that the model is conditioned on. Where none is
            named, drawn scenes have meadow-judge, and photographs the conditioning CLIP alone.
        edits: pairs of texts, from what to what pictures are turned to be looked at.
    """

    prompts: int = Field(default=500, ge=1)
    draws: int = Field(default=4, ge=1, le=100)
    seed: int = Field(default=0, ge=0)
    judge: ClipConfig | None = None
    edits: tuple[tuple[str, str], ...] = (
        ("a cow", "a sheep"),
        ("under a blue sky", "under a night sky"),
    )


def evaluate(
    model: Path,
    shards: Path,
    annotations: Path,
    verdicts: Path,
    *,
    config: EvaluateConfig,
    clip: ClipConfig,
    runtime: Runtime,
) -> Summary:
    """Judge a trained model on the test split; nothing is chosen on it.

    Args:
        model: folder of the trained model.
        shards: folder of shards; test is judged, train serves the bounds.
        annotations: folder of annotation files, read for the attributes alone.
        verdicts: Parquet file to write, see data/verdicts.py.
        config: numbers of prompts and draws, seed, judge.
        clip: the CLIP that embedded the shards, and that the model is conditioned on.
        runtime: device and places.

    Returns:
        Rows are test images; the figures are the whole of reports/evaluate.json.

    Raises:
        DataError: model, shards and `clip` are not of one CLIP, or a file is missing.
        ParamsError: the judge is the CLIP that the model is conditioned on.
    """
    from bucolic.base.device import choose_device, products_in
    from bucolic.data.shards import content_digest
    from bucolic.evaluation.document import document, headline
    from bucolic.evaluation.gallery import gallery
    from bucolic.evaluation.study import on_held_out_combinations, on_ordinary_prompts
    from bucolic.models.trained import TrainedModel
    from bucolic.seeing.prompts import HELD_OUT, ORDINARY

    device = choose_device(runtime.device)
    artist = TrainedModel.read(model, device)
    study = _study(artist, shards, annotations, config, clip, device, runtime.work)
    with products_in("fp32"):
        ordinary, held_out = on_ordinary_prompts(study), on_held_out_combinations(study)
        shown = dict(_sheets(ordinary, held_out, drawn=study.attributes is not None))
        shown |= dict(gallery(artist, study, ordinary, config.edits))
    images = len(study.test.image_ids)
    asked = {"seed": config.seed, "draws": config.draws}
    sittings = {ORDINARY: ordinary.sitting, HELD_OUT: held_out.sitting}
    _write_verdicts(verdicts, study, sittings, asked)
    about = {"test_images": images, "sampling": artist.config["sampling"], **asked}
    content = document(ordinary, held_out, study.jury, about)
    return Summary(
        Rows(images, images),
        content,
        headline(content),
        details={"test_digest": content_digest(study.test)},
        sheets=shown,
        device=device,
        precision=study.jury.towers.provenance["precision"],
    )


def _write_verdicts(
    path: Path,
    study: "Study",
    sittings: Mapping[str, "Sitting | None"],
    asked: dict[str, int],
) -> None:
    """Write them with who gave them, and a digest of what R-precision held against the prompts."""
    from bucolic.data.verdicts import write_verdicts
    from bucolic.evaluation.verdicts import verdict_rows

    texts, exams = study.test.captions, [sitting.exam for sitting in sittings.values() if sitting]
    rivals = [[texts[row] for row in exam.rivals.ravel()] for exam in exams]
    by_whom = {**study.jury.names, **asked, "distractors": fingerprint(rivals)}
    write_verdicts(path, verdict_rows(study.test, sittings), by_whom)


def _study(
    artist: "TrainedModel",
    shards: Path,
    annotations: Path,
    config: EvaluateConfig,
    clip: ClipConfig,
    device: str,
    spill: Path,
) -> "Study":
    """What is evaluated, on what, and by whom; all of one CLIP but the judge."""
    from bucolic.data.shards import read_index, read_split
    from bucolic.evaluation.jurors import summoned
    from bucolic.evaluation.study import Study
    from bucolic.seeing.prompts import read_all_attributes

    of_shards = read_index(shards).clip
    attributes = read_all_attributes(annotations)
    same_precision = clip.model_copy(update={"precision": of_shards["precision"]})
    jury = summoned(same_precision, config.judge, attributes, device)
    _require_one_clip(jury.towers.provenance, artist.config["clip"], of_shards)
    return Study(
        test=read_split(shards, "test", spill),
        train=read_split(shards, "train", spill),
        attributes=attributes,
        artist=artist,
        jury=jury,
        limit=config.prompts,
        draws=config.draws,
        seed=config.seed,
    )


def _require_one_clip(
    params: dict[str, Any], model: dict[str, Any], shards: dict[str, Any]
) -> None:
    from bucolic.data.embeddings import check_same_towers

    check_same_towers(params, model, "the model")
    check_same_towers(params, shards, "data/shards")


def _sheets(
    ordinary: "Findings", held_out: "Findings", *, drawn: bool
) -> "Iterator[tuple[str, Sheet]]":
    """By name: samples of both slices; of a drawn data set, the arms beside one another."""
    from bucolic.base.sheet import Block

    shown = {
        "Prompts of the test split, the first by hash, not picked": (ordinary, ORDINARY_SHOWN),
        "Combinations that training never showed": (held_out, HELD_OUT_SHOWN),
    }
    samples = [
        Block(findings.arms[MODEL][:number], captions=findings.prompts[:number], title=title)
        for title, (findings, number) in shown.items()
        if findings.arms
    ]
    if samples:
        yield "samples", samples
    if drawn and ordinary.arms:
        yield "bounds", [_comparison(ordinary)]


def _comparison(findings: "Findings") -> "Block":
    """One row an arm, one column a prompt."""
    import numpy as np

    from bucolic.base.sheet import Block

    prompts, shown = findings.prompts[:COMPARED], [arm for arm in ARMS if arm.caption]
    pictures = np.concatenate([findings.arms[arm.name][:COMPARED] for arm in shown])
    labels = tuple(arm.caption for arm in shown)
    return Block(pictures, columns=len(prompts), captions=prompts, labels=labels)

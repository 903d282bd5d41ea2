"""The whole study: does it serve better to condition on pictures or on texts, and through what?

What is done is kept below `folder`, so a study that was killed goes on where it was.
"""

import json
import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bucolic.arms import original
from bucolic.arms.conditions import Ladder, fitted_ladder
from bucolic.arms.statistics import Estimate, estimate
from bucolic.arms.table import (
    ARMS,
    OF_ORIGINAL,
    PROMPTS,
    QUESTIONS,
    RAW,
    TRAININGS,
    Arm,
    Question,
)
from bucolic.arms.trainings import Bench
from bucolic.arms.verdicts import Court, Outcomes, opened
from bucolic.base.device import choose_precision, products_in
from bucolic.base.files import fingerprint, write_json
from bucolic.data.attributes import Attributes
from bucolic.data.shards import Split, content_digest
from bucolic.evaluation.jurors import summoned
from bucolic.models.cvae.config import CvaeConfig, CvaeTrainConfig
from bucolic.seeing.clip.config import ClipConfig
from bucolic.seeing.clip.towers import Towers, load_towers

logger = logging.getLogger(__name__)
Tried = dict[str, dict[str, Any]]  # by arm, the content of its file


@dataclass(frozen=True)
class Setup:
    """What is studied.

    Attributes:
        splits: "train", "val" and "test".
        attributes: what their scenes truly show, where the data set says so.
        clip: of the embeddings.
        judge: another CLIP that judges; None: see evaluation/jurors.py.
        shapes: of the networks.
        config: budgets and recipe.
        prompts: at most, of test.
        draws: pictures of each.
        seeds: of the trainings.
        device: where they compute.
        folder: of what is kept.
        original_images: budget of each training of the original study's model; 0: none.
    """

    splits: dict[str, Split]
    attributes: Attributes | None
    clip: ClipConfig
    judge: ClipConfig | None
    shapes: CvaeConfig
    config: CvaeTrainConfig
    prompts: int
    draws: int
    seeds: Sequence[int]
    device: str
    folder: Path
    original_images: int = 0


def studied(setup: Setup) -> dict[str, Any]:
    """Train, draw and judge all arms: the gap, a row an arm, and what their differences say.

    Raises:
        ParamsError: a training diverged, the judge is the CLIP of the embeddings, or there are too
            few prompts.
    """
    precision = choose_precision(setup.config.precision, setup.device)
    with products_in(precision):
        return _studied(setup, precision)


def _studied(setup: Setup, precision: str) -> dict[str, Any]:
    config = setup.config.model_copy(update={"precision": precision})
    towers = load_towers(setup.clip, setup.device)
    court = opened(
        summoned(setup.clip, setup.judge, setup.attributes, setup.device),
        towers,
        setup.splits,
        setup.attributes,
        config=config,
        prompts=setup.prompts,
        draws=setup.draws,
    )
    fitted = {name: setup.splits[name] for name in ("train", "val")}
    folder = setup.folder / _fingerprint(setup, config)
    bench = Bench(fitted, setup.shapes, config, setup.device, towers, folder)
    ladders = {seed: fitted_ladder(fitted["train"], fitted["val"], seed) for seed in setup.seeds}
    found = {seed: _tried(bench, court, ladders[seed], seed) for seed in setup.seeds}
    content = _document(setup, court, ladders[setup.seeds[0]], found)
    if setup.original_images:
        kept = {arm: _of_original(setup, court, towers, folder, arm) for arm in original.TITLES}
        content["rows"] += [_original_row(arm, setup, kept) for arm in kept]
        content["differences"].append(_difference(OF_ORIGINAL, [kept], content["decided_by"]))
    return content


def _fingerprint(setup: Setup, config: CvaeTrainConfig) -> str:
    """What decides the trainings: those of other data, shapes, budgets or arithmetic are others."""
    sections = [part.model_dump(mode="json") for part in (setup.shapes, config, setup.clip)]
    data = {name: content_digest(split) for name, split in setup.splits.items()}
    return fingerprint([*sections, data, setup.device])


def _tried(bench: Bench, court: Court, ladder: Ladder, seed: int) -> Tried:
    """All arms of one seed, those from disk that have been tried before."""
    asked = f"{len(court.exam.prompts)}x{court.exam.draws}"
    files = {arm: bench.folder / f"{arm.name}-{seed}-{asked}.json" for arm in ARMS}
    missing = [arm for arm, path in files.items() if not path.exists()]
    if missing:
        base = bench.autoencoder()
        for name in dict.fromkeys(arm.training for arm in missing):
            training = TRAININGS[name]
            model = bench.prior(base, training, ladder, seed)
            for arm in (arm for arm in missing if arm.training == name):
                sampling, outcomes = court.tries(model, arm, training, ladder, seed)
                _write(files[arm], sampling.guidance, outcomes)
                logger.info("%s, seed %d: %s", arm.name, seed, _headline(outcomes))
    return {arm.name: json.loads(path.read_text()) for arm, path in files.items()}


def _of_original(
    setup: Setup, court: Court, towers: Towers, folder: Path, arm: str
) -> dict[str, Any]:
    asked = f"{len(court.exam.prompts)}x{court.exam.draws}"
    path = folder / f"{arm}-{setup.original_images}-{asked}.json"
    if not path.exists():
        fitted = {name: setup.splits[name] for name in ("train", "val")}
        model = original.trained(
            arm, fitted, setup.original_images, towers, folder, device=setup.device
        )
        _write(path, 1.0, original.tried(model, court))
    return dict(json.loads(path.read_text()))


def _original_row(arm: str, setup: Setup, tried: Tried) -> dict[str, Any]:
    titles = {"trained_on": original.TITLES[arm], "asked_with": PROMPTS[RAW]}
    return {"arm": arm} | titles | {"images_seen": setup.original_images} | _figures(arm, [tried])


def _write(path: Path, guidance: float, outcomes: Outcomes) -> None:
    columns = {
        name: [None if np.isnan(value) else float(value) for value in values]
        for name, values in outcomes.items()
    }
    write_json(path, {"guidance": guidance, "outcomes": columns})


def _headline(outcomes: Outcomes) -> str:
    return ", ".join(f"{name} {np.nanmean(values):.3f}" for name, values in outcomes.items())


def _document(
    setup: Setup, court: Court, ladder: Ladder, found: dict[int, Tried]
) -> dict[str, Any]:
    """The content of arms.json: JSON types, rounded."""
    tried = list(found.values())
    headline = _headline_of(tried[0][ARMS[0].name]["outcomes"])
    test = setup.splits["test"]
    return {
        "clip": court.jury.name,
        "judges": {name: court.jury.names[name] for name in {"r_precision", headline}},
        "decided_by": headline,
        "data": {name: content_digest(split) for name, split in setup.splits.items()},
        "images_seen": {
            "autoencoder": setup.config.autoencoder_images,
            "prior": setup.config.prior_images,
        },
        "prompts": len(court.exam.prompts) // setup.draws,
        "draws": setup.draws,
        "seeds": len(setup.seeds),
        "gap": {name: round(value, 4) for name, value in ladder.gap(test).items()},
        "rows": [_row(arm, tried) for arm in ARMS],
        "differences": [_difference(question, tried, headline) for question in QUESTIONS],
    }


def _row(arm: Arm, tried: Sequence[Tried]) -> dict[str, Any]:
    titles = {"trained_on": TRAININGS[arm.training].title, "asked_with": arm.title}
    return {"arm": arm.name} | titles | _figures(arm.name, tried)


def _figures(arm: str, tried: Sequence[Tried]) -> dict[str, Any]:
    names = tried[0][arm]["outcomes"]
    columns = {name: _outcomes(arm, tried, name) for name in names}
    figures = {name: estimate(column) for name, column in columns.items() if _is_judged(column)}
    return {
        "seeds": len(tried),
        "guidance": [content[arm]["guidance"] for content in tried],
        **_rounded(figures.pop(_headline_of(names))),
        "others": {name: _rounded(figure) for name, figure in sorted(figures.items())},
    }


def _is_judged(outcomes: np.ndarray) -> bool:
    """Whether there are prompts enough for an interval."""
    return int(np.isfinite(outcomes).all(axis=0).sum()) > 1


def _headline_of(outcomes: Collection[str]) -> str:
    """What decides: the probe where there is one, else R-precision."""
    return "all_right" if "all_right" in outcomes else "r_precision"


def _difference(question: Question, tried: Sequence[Tried], headline: str) -> dict[str, Any]:
    pair = (_outcomes(name, tried, headline) for name in (question.better, question.worse))
    better, worse = pair
    gap = estimate(better - worse)
    about = {"claim": question.claim, "better": question.better, "worse": question.worse}
    return about | _rounded(gap) | {"holds": gap.holds}


def _outcomes(arm: str, tried: Sequence[Tried], name: str) -> np.ndarray:
    """Outcomes [seeds, prompts], NaN where a prompt is not judged."""
    return np.array([content[arm]["outcomes"][name] for content in tried], dtype=np.float64)


def _rounded(found: Estimate) -> dict[str, Any]:
    return {
        "value": round(found.value, 4),
        "interval": [round(end, 4) for end in found.interval],
        "by_seed": [round(value, 4) for value in found.by_seed],
        "n": found.prompts,
    }

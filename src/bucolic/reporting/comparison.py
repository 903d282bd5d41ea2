"""Two runs compared prompt by prompt, from the verdicts that both left.

The same prompts are asked of both, so what is hard for both falls out: the interval is that of the
mean difference over prompts, draws of one prompt counting together.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bucolic.base.errors import ParamsError
from bucolic.data.verdicts import asked_of, read_verdicts
from bucolic.pipeline.table import VERDICTS
from bucolic.seeing.metrics.intervals import of_mean
from bucolic.seeing.prompts import HELD_OUT, ORDINARY

MEASURES = {
    "all_right": "all attributes right",
    "r_precision": "R-precision",
    "r_precision_own_clip": "R-precision, own CLIP",
    "clip_similarity": "CLIP similarity",
}
Key = tuple[str, int, str]
DISTRACTORS = "distractors"  # their digest
LEAST_PROMPTS = 10  # for a verdict: of few, an interval may be narrow by chance
SLICES = {ORDINARY: "ordinary prompts", HELD_OUT: "held-out combinations"}


@dataclass(frozen=True)
class Difference:
    """One measure of two runs on the prompts that both were asked.

    Attributes:
        of_slice: which prompts, as people say it.
        measure: what was measured, as people say it.
        first: mean over prompts of the first run.
        second: likewise of the second.
        interval: 95 % interval of second less first, paired by prompt.
        prompts: how many.
    """

    of_slice: str
    measure: str
    first: float
    second: float
    interval: tuple[float, float]
    prompts: int

    def __str__(self) -> str:
        """One line for a terminal."""
        low, high = self.interval
        gap = self.second - self.first
        told_apart = self.prompts >= LEAST_PROMPTS and not low <= 0 <= high
        verdict = "  differs" if told_apart else ""
        return (
            f"{self.of_slice:22} {self.measure:22} {self.first:7.3f} {self.second:7.3f} "
            f"{gap:+7.3f} [{low:+.3f}, {high:+.3f}]  n {self.prompts}{verdict}"
        )


def verdicts_at(root: Path, revision: str | None) -> pa.Table:
    """The verdicts of the workspace, of a Parquet file, or of a commit or experiment.

    Args:
        root: the project's root.
        revision: None for the workspace; else a file, or what Git or `dvc exp show` names.

    Raises:
        DataError: the file is missing, or of another format.
        ParamsError: there is no such revision, or DVC's cache has not kept its verdicts.
    """
    if revision is None:
        return read_verdicts(root / VERDICTS)
    if revision.endswith(".parquet"):
        return read_verdicts(Path(revision))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(VERDICTS).name
        path.write_bytes(_content_at(root, revision))
        return read_verdicts(path)


def _content_at(root: Path, revision: str) -> bytes:
    import dvc.api  # noqa: PLC0415 - half a second
    from dvc.exceptions import DvcException, PathMissingError  # noqa: PLC0415
    from scmrepo.exceptions import SCMError  # noqa: PLC0415

    try:
        content: bytes = dvc.api.read(VERDICTS, repo=str(root), rev=revision, mode="rb")
    except (DvcException, SCMError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        if isinstance(error, PathMissingError):
            reason = "its dvc.lock has none"
        raise ParamsError(
            f"{revision}: no {VERDICTS} is to be had of it ({reason}): "
            "name a revision that an evaluated run was committed in (git add dvc.lock)"
        ) from None
    return content


def differences(first: pa.Table, second: pa.Table) -> list[Difference]:
    """What the second run is better or worse at, on the prompts that both were asked.

    A verdict that others gave, or on other distractors, is no matter of the models and left out.

    Raises:
        ParamsError: the two have no prompt in common.
    """
    runs = [_by_prompt(table) for table in (first, second)]
    common = [key for key in runs[0] if key in runs[1]]
    if not common:
        raise ParamsError("the two runs have no prompt in common: their test splits differ")
    measures = [name for name in MEASURES if _same_question(name, first, second)]
    found = (_difference(*asked, common, runs) for asked in product(SLICES, measures))
    return [difference for difference in found if difference]


def left_out(first: pa.Table, second: pa.Table) -> list[str]:
    """The measures that are not compared though both runs have them, with the reason."""
    both = [
        name
        for name in MEASURES
        if all(table[name].null_count < len(table) for table in (first, second))
    ]
    return [
        f"{MEASURES[name]} is left out: the two runs had other judges or other distractors"
        for name in both
        if not _same_question(name, first, second)
    ]


def _same_question(measure: str, first: pa.Table, second: pa.Table) -> bool:
    """Whether both runs were judged by the same, and where it matters on the same distractors."""
    asked, other = asked_of(first), asked_of(second)
    decides = [measure, DISTRACTORS] if measure.startswith("r_precision") else [measure]
    return all(asked.get(name) == other.get(name) for name in decides)


def _by_prompt(table: pa.Table) -> dict[Key, dict[str, float]]:
    """By slice, caption and its text, each measure's mean over its draws; NaN without any."""
    rows: dict[Key, list[Mapping[str, Any]]] = {}
    for row in table.select(["slice", "caption_id", "text", *MEASURES]).to_pylist():
        rows.setdefault((row["slice"], row["caption_id"], row["text"]), []).append(row)
    return {
        key: {name: float(np.mean([_number(draw[name]) for draw in draws])) for name in MEASURES}
        for key, draws in rows.items()
    }


def _difference(
    of_slice: str,
    measure: str,
    common: Sequence[Key],
    runs: Sequence[Mapping[Key, Mapping[str, float]]],
) -> Difference | None:
    keys = [key for key in common if key[0] == of_slice]
    values = np.array([[run[key][measure] for key in keys] for run in runs])
    values = values[:, np.isfinite(values).all(axis=0)]
    if values.shape[1] < 2:
        return None
    first, second = values
    interval = of_mean(second - first)
    means = float(first.mean()), float(second.mean())
    return Difference(SLICES[of_slice], MEASURES[measure], *means, interval, values.shape[1])


def _number(value: bool | float | None) -> float:
    return float("nan") if value is None else float(value)


def lines(found: Sequence[Difference]) -> Iterator[str]:
    """A table for a terminal."""
    heads = ("prompts", "measure", "first", "second", "gap")
    yield "{:22} {:22} {:>7} {:>7} {:>7} paired 95 % interval".format(*heads)
    yield from map(str, found)

"""What the present params will fetch, make and cost, stage by stage, before a byte is fetched.

Minutes are at the rate of each stage's last run in this checkout, where that ran with the same
params on the same device, and found little of its work done before; a training that was killed and
went on counts whole. Else they are an estimate: from operations that torch counts and what the
device's matrix products reach now, and from the rates below. Images that are kept are not fetched
again; vectors that are, are counted all the same.
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bucolic.base.device import choose_device, choose_precision
from bucolic.base.engine import choose_engine
from bucolic.pipeline.params import Params, section_of, sections
from bucolic.pipeline.record import read_record, spent_s
from bucolic.pipeline.table import named
from bucolic.planning.amounts import Amounts, amounts_of
from bucolic.planning.operations import (
    clip_flops,
    embed_dim,
    flops_per_image,
    matrix_flop_per_s,
    phases_on_noise,
)
from bucolic.seeing.clip.config import ELSEWHERE
from bucolic.stages.filter import CAPTIONS_READ

NETWORK_BYTES_PER_S = 20e6  # a guess
CAPTIONS_READ_PER_S = 100_000
IMAGES_CHECKED_PER_S, IMAGES_PACKED_PER_S = 200, 500  # by one worker; 640 px JPEGs
TOKENS = 16  # of a caption, padded to a multiple of 8
# Of the rate of bare matrix products: bench/results/train.json found 0.37 and 0.52 on CPUs; on
# other devices a guess.
SHARE_OF_PRODUCTS = {"cpu": 0.4}
SHARE_ELSEWHERE = 0.2
MEASURED_S = 0.5
USUAL_EMBED_DIM = 512
MOSTLY = 0.5  # of what a run worked on
THEME = "filter"  # the section that decides how much, not how fast
JUDGING_S = 30.0  # beside the drawing
DRAWINGS = 3  # ordinary and held-out prompts and those of diversity, for each of `prompts`
CALLS_BEYOND_STEPS = 1  # of the network, see models/flow.py


@dataclass(frozen=True)
class Task:
    """What a stage has to do.

    Attributes:
        stage: its name.
        told: as people say it.
        count: in the unit of the stage's records.
        estimate_s: how long that takes, where no record says so; None where nobody can say.
    """

    stage: str
    told: str
    count: float
    estimate_s: float | None


@dataclass(frozen=True)
class Machine:
    """What will compute.

    Attributes:
        device: torch's name of it.
        training: precision of training there.
        towers: precision of CLIP's towers there.
        flop_per_s: by precision, what may be reached, as far as one can say.
        engine: what works on the items of some stages.
        workers: that look at files.
    """

    device: str
    training: str
    towers: str
    flop_per_s: Mapping[str, float]
    engine: str
    workers: int

    def training_s(self, flops: float) -> float:
        """How long training takes for so many operations."""
        return flops / self.flop_per_s[self.training]


def plan(root: Path, home: Path, params: Params, workers: int) -> Iterator[str]:
    """The plan as lines.

    Args:
        root: of the project, where records of earlier runs lie.
        home: whose cache and disk are used.
        params: what is planned.
        workers: that look at files.

    Raises:
        DataError: see `amounts_of`.
    """
    amounts = amounts_of(root, params, home / ".cache")
    machine = _machine(params, workers)
    yield f"theme     {', '.join(params.filter.keywords)}"
    yield f"data set  {params.dataset.root}"
    yield f"images    {amounts.images:,}, with {amounts.captions:,} captions ({amounts.origin})"
    yield f"device    {_device(machine)}"
    yield ""
    total_s, is_whole = 0.0, True
    for task in _tasks(params, amounts, machine):
        seconds, origin = _seconds(task, root, params, machine)
        total_s, is_whole = total_s + (seconds or 0), is_whole and seconds is not None
        yield f"{task.stage:12}{_minutes(seconds):>12}  {origin:9} {task.told}"
    yield f"{'in all':12}{_minutes(total_s):>12}  {'' if is_whole else 'and more'}"
    yield ""
    yield from _space(home, params, amounts)


def _machine(params: Params, workers: int) -> Machine:
    device = choose_device()
    training = choose_precision(section_of(params, "train").precision, device)
    towers = choose_precision(params.clip.precision, device)
    share = SHARE_OF_PRODUCTS.get(device.partition(":")[0], SHARE_ELSEWHERE)
    flop_per_s = {
        precision: share * matrix_flop_per_s(device, precision, MEASURED_S)
        for precision in sorted({training, towers})
    }
    return Machine(device, training, towers, flop_per_s, choose_engine().name, workers)


def _device(machine: Machine) -> str:
    rates = machine.flop_per_s.items()
    rate = ", ".join(f"about {rate / 1e12:.2g} TFLOP/s in {precision}" for precision, rate in rates)
    if machine.device.startswith("cuda"):
        return f"{machine.device} ({torch.cuda.get_device_name(machine.device)}), {rate}"
    return f"{machine.device}, {torch.get_num_threads()} threads, {rate}"


def _tasks(params: Params, amounts: Amounts, machine: Machine) -> Iterator[Task]:
    images = amounts.images
    fetched = amounts.annotations_bytes
    told = f"{fetched / 1e9:.2f} GB to fetch" if fetched else "nothing to fetch"
    yield Task("annotations", told, 1, 10 + fetched / NETWORK_BYTES_PER_S)
    told = f"{amounts.read:,} captions to read"
    yield Task("filter", told, amounts.read, amounts.read / CAPTIONS_READ_PER_S)
    fetched = amounts.images_bytes
    told = "; ".join(amounts.transfers) or (f"{fetched / 1e9:.2f} GB to fetch" if fetched else "")
    seconds = max(images / IMAGES_CHECKED_PER_S / machine.workers, fetched / NETWORK_BYTES_PER_S)
    yield Task("images", told or f"{images:,} files to check", amounts.missing, seconds)
    yield _embed(params, amounts, machine)
    told = f"{images:,} pictures of {_side(params)} px"
    yield Task("shard", told, images, images / IMAGES_PACKED_PER_S / machine.workers)
    flops = _training_flops(params)
    yield _training(params, flops, machine)
    yield _evaluation(params, flops, machine)


def _embed(params: Params, amounts: Amounts, machine: Machine) -> Task:
    told = f"{amounts.images:,} images and {amounts.captions:,} captions"
    rows = amounts.images + amounts.captions
    if params.clip.model.startswith(ELSEWHERE):
        return Task("embed", told, rows, None)
    of_image, of_text = clip_flops(params.clip.model, TOKENS)
    flops = amounts.images * of_image + amounts.captions * of_text
    seconds = flops / machine.flop_per_s[machine.towers]
    return Task("embed", f"{told}, {_flops(flops)}", rows, seconds)


def _training(params: Params, flops: Mapping[str, float], machine: Machine) -> Task:
    budgets = {name: getattr(section_of(params, "train"), f"{name}_images") for name in flops}
    told = " and ".join(f"{images:,} images of {name}" for name, images in budgets.items())
    total = sum(images * flops[name] for name, images in budgets.items())
    return Task("train", f"{told}, {_flops(total)}", 1, machine.training_s(total))


def _evaluation(params: Params, flops: Mapping[str, float], machine: Machine) -> Task:
    """Each picture asks the last phase's network twice a call, with its condition and without."""
    asked, train = section_of(params, "evaluate"), section_of(params, "train")
    *_, of_step = flops.values()
    calls = 2 * (max(train.steps) + CALLS_BEYOND_STEPS)
    pictures = DRAWINGS * asked.prompts * asked.draws
    drawing = pictures * calls * of_step / 3  # of a step, which goes backwards as well
    told = f"{asked.prompts:,} prompts at most, {asked.draws} pictures each"
    return Task("evaluate", told, 1, JUDGING_S + machine.training_s(drawing))


def _training_flops(params: Params) -> dict[str, float]:
    """Of one image of each phase."""
    model, train = section_of(params, "model"), section_of(params, "train")
    phases = phases_on_noise(model, train, size_px=_side(params), embed_dim=_embed_dim(params))
    return {name: flops_per_image(phase) for name, phase in phases.items()}


def _seconds(task: Task, root: Path, params: Params, machine: Machine) -> tuple[float | None, str]:
    """How long a task takes, and whether that was measured."""
    record = read_record(root / f"reports/records/{task.stage}.json")
    if record.get("status") == "ok" and _compares(record, params, machine):
        done = _done(task, record)
        if done and task.count:
            return task.count * spent_s(record) / done, "measured"
    return task.estimate_s, "unknown" if task.estimate_s is None else "estimate"


def _done(task: Task, record: Mapping[str, Any]) -> int:
    """How much a run computed or fetched; 0 where that is not told, or it found most of it."""
    if not named(task.stage).has_engine:
        of_one = 1 if task.count == 1 else 0  # of the whole, whatever it holds
        return int(record.get("details", {}).get(CAPTIONS_READ, of_one))
    whole = int(record["rows"]["in"])
    new = whole if record["new"] is None else int(record["new"])
    return new if new > MOSTLY * whole else 0


def _compares(record: Mapping[str, Any], params: Params, machine: Machine) -> bool:
    """Whether a stage's last run was made as the next one will be."""
    asked = {name: section for name, section in record["params"].items() if name != THEME}
    now = sections(params, asked)
    alike = all(content.items() <= now[name].items() for name, content in asked.items())
    if named(record["stage"]).on_device:
        alike &= record["device"].partition(":")[0] == machine.device.partition(":")[0]
    with_engine = named(record["stage"]).has_engine
    return alike and (not with_engine or record.get("engine") == machine.engine)


def _space(home: Path, params: Params, amounts: Amounts) -> Iterator[str]:
    written = amounts.written_bytes(size_px=_side(params), embed_dim=_embed_dim(params))
    free = shutil.disk_usage(home).free
    yield f"to fetch  {amounts.fetched_bytes / 1e9:.2f} GB"
    yield f"to write  about {written / 1e9:.2f} GB with DVC's cache, of {free / 1e9:.1f} GB free"
    if written > free:
        yield "that is more than there is room for: BUCOLIC_HOME names a folder on another disk"


def _minutes(seconds: float | None) -> str:
    if seconds is None:
        return "?"
    return f"{seconds / 3600:,.1f} hours" if seconds > 2 * 3600 else f"{seconds / 60:.1f} min"


def _flops(count: float) -> str:
    return f"{count / 1e15:.2g} PFLOP"


def _side(params: Params) -> int:
    return int(section_of(params, "shard").size_px)


def _embed_dim(params: Params) -> int:
    """Of the CLIP; one that brings its own configuration is taken for one of the usual size."""
    model = params.clip.model
    return USUAL_EMBED_DIM if model.startswith(ELSEWHERE) else embed_dim(model)

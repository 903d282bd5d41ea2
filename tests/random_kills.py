"""Random kills over all stages of a toy pipeline: the same bytes each time, and no work done twice.

    PYTHONPATH=tests python tests/random_kills.py 200 [--seed SEED] [--stages filter images]

Each round makes a stage run by one of two means: it is taken out of dvc.lock, or a comment is added
to its code, and dvc.lock keeps the equal outs of the former run. It is started through DVC, and
either the whole process group or DVC alone is killed at a random moment: before the stage began,
amid its work, between its end and DVC's commit, or after; a third of the kills wait for the end.
Then the same command again must end with the bytes of an undisturbed run. What was finished, or
checkpointed, or embedded, or drawn at the kill must not be made again.
"""

import argparse
import glob
import json
import os
import random
import re
import secrets
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from bucolic.base.files import remove
from project import STAGES, Project, copy_project

SOURCE = {"kind": "meadow", "seed": 3, "train": 40, "val": 12, "heldout": 4}
PARAMS = {
    ("dataset", "root"): "datasets/toy",
    ("shard", "size_px"): 16,
    ("train", "autoencoder_images"): 320,
    ("train", "prior_images"): 320,
    ("evaluate", "prompts"): 8,
}
STORES = {
    "annotations": (".cache/meadow", ".cache/archives"),
    "images": (".cache/originals", ".cache/squares"),
    "embed": (".cache/embeddings",),
    "shard": (".cache/squares",),
}
BUSY = "is running already as process"
AFTER_END_S = 0.7  # Python ends, and DVC takes digests and fills its cache
LATEST = 1.15  # of a stage's undisturbed time: some kills come too late on purpose


@dataclass(frozen=True)
class Left:
    """What a killed run had done for good.

    Attributes:
        finished: id of the record of a result that was kept.
        checkpoints: by phase, images seen at its newest checkpoint.
        embedded: vectors in the store.
        drawn: time stamps of archives whose digests were written.
    """

    finished: str | None
    checkpoints: dict[str, int]
    embedded: int
    drawn: dict[str, int]


def toy_project(target: Path) -> tuple[Project, dict[str, float]]:
    """A pipeline of 56 drawings, run once; and how long each stage took, in seconds."""
    project = copy_project(target)
    folder = target / "datasets/toy"
    folder.mkdir()
    (folder / "source.json").write_text(json.dumps(SOURCE))
    for (section, key), value in PARAMS.items():
        project.set_param(section, key, value)
    took_s = {}
    for stage in STAGES:
        started_s = time.monotonic()
        project.repro("-s", stage)
        took_s[stage] = time.monotonic() - started_s
    return project, took_s


def kill_and_repeat(
    project: Project, stage: str, took_s: float, chance: random.Random, *, at_end: bool
) -> str:
    """One round, which kills at a random moment or at the stage's end; says how far it was."""
    expected = locked(project)[stage]
    forget(project, stage, keep_lock=chance.random() < 0.5)
    before, lock = record_in_lock(project, stage), (project.root / "dvc.lock").read_bytes()
    project.run("git", "add", "dvc.lock")  # as whoever commits it has it
    child = start(project, stage)
    if at_end or chance.random() < 1 / 3:
        wait_for_end(project, stage, child)
        time.sleep(0 if at_end else chance.uniform(0, AFTER_END_S))
    else:
        time.sleep(chance.uniform(0, LATEST * took_s))
    alone = not at_end and chance.random() < 0.25
    kill(child, alone=alone)
    torn = mend_dvc(project, lock, stage)
    left = what_is_left(project, stage)
    was_committed = record_in_lock(project, stage) != before
    printed = repeat(project, stage)
    assert locked(project)[stage] == expected, printed
    assert "up to date" in project.run("dvc", "status", stage).stdout
    assert not list((project.root / "data").glob(".*.tmp")), printed
    if was_committed:
        return "after DVC's commit"
    if torn:
        return "as DVC wrote a file of its own"
    if not alone:  # an orphan goes on after what is left was looked at
        require_not_done_twice(project, stage, left, printed)
    if alone and child.poll() is not None:
        return "DVC alone"
    return "before DVC's commit" if left.finished else "before its end"


def forget(project: Project, stage: str, *, keep_lock: bool) -> None:
    """Let DVC run a stage again, and empty the stores that it fills."""
    if keep_lock:
        with (project.root / f"src/bucolic/stages/{stage}.py").open("a") as file:
            file.write("# a comment, which changes the code and no result\n")
    else:
        yaml, path = YAML(), project.root / "dvc.lock"
        content = yaml.load(path)
        content["stages"].pop(stage, None)
        yaml.dump(content, path)
    for place in (".dvc/cache/runs", ".work/finished", ".work/stages", *STORES.get(stage, ())):
        remove(project.root / place)


def start(project: Project, stage: str) -> subprocess.Popen[str]:
    """Start a stage through DVC in a group of its own."""
    return subprocess.Popen(
        ("dvc", "repro", "-s", stage),
        cwd=project.root,
        env=project.environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def mend_dvc(project: Project, lock: bytes, stage: str) -> bool:
    """Do what README says where DVC was killed while it wrote one of its own files, in place."""
    path, rwlock = project.root / "dvc.lock", project.root / ".dvc/tmp/rwlock"
    entry = YAML(typ="safe").load(project.root / "dvc.yaml")["stages"][stage]
    outs = sum(len(entry.get(kind, ())) for kind in ("outs", "metrics", "plots"))
    lock_is_torn = breaks_off(path) or lacks_entries(path, lock, stage, outs)
    rwlock_is_torn = rwlock.exists() and breaks_off(rwlock)
    if lock_is_torn:
        project.run("git", "checkout", "-q", "dvc.lock")
        assert lock == path.read_bytes()
    if rwlock_is_torn:
        rwlock.unlink()
    return lock_is_torn or rwlock_is_torn


def breaks_off(path: Path) -> bool:
    """Whether a file of YAML, or JSON, which is YAML, is empty or breaks off."""
    try:
        return YAML(typ="safe").load(path) is None
    except YAMLError:
        return True


def lacks_entries(path: Path, before: bytes, stage: str, outs: int) -> bool:
    """Whether dvc.lock breaks off where what is left is still YAML: DVC changes one entry alone.

    A whole entry has so many outs.
    """
    then = YAML(typ="safe").load(before)["stages"]
    try:
        now = YAML(typ="safe").load(path)["stages"]
        has_own = stage not in now or len([out["md5"] for out in now[stage]["outs"]]) == outs
    except (KeyError, TypeError):
        return True
    others = (now.keys() | then.keys()) - {stage}
    return not has_own or any(now.get(name) != then.get(name) for name in others)


def wait_for_end(project: Project, stage: str, child: subprocess.Popen[str]) -> None:
    """Wait until the stage has come to its end, and DVC has not."""
    # Path.glob fails where a folder vanishes under it.
    sign = f".work/finished/{stage}/*/kept.json"
    while not glob.glob(sign, root_dir=project.root) and child.poll() is None:  # noqa: PTH207
        time.sleep(0.002)


def record_in_lock(project: Project, stage: str) -> str | None:
    """The digest of the stage's record in dvc.lock: which execution DVC has."""
    stages = YAML(typ="safe").load(project.root / "dvc.lock")["stages"]
    outs = stages.get(stage, {}).get("outs", [])
    return next((out["md5"] for out in outs if "records" in out["path"]), None)


def kill(child: subprocess.Popen[str], *, alone: bool) -> None:
    """SIGKILL to DVC, and to all that it started unless it is to die alone."""
    if child.poll() is None:
        if alone:
            child.kill()
        else:
            os.killpg(child.pid, signal.SIGKILL)
    child.wait()


def repeat(project: Project, stage: str) -> str:
    """Run the stage to its end, after an orphan has come to its own."""
    while True:
        done = project.run("dvc", "--wait-for-lock", "repro", "-s", stage, check=False)
        if done.returncode == 0:
            return done.stdout
        assert BUSY in done.stdout, done.stdout[-3000:]
        time.sleep(0.5)


def what_is_left(project: Project, stage: str) -> Left:
    """Look at what a run has done for good."""
    root = project.root
    kept = [path.read_text() for path in root.glob(f".work/finished/{stage}/*/kept.json")]
    checkpoints = sorted(root.glob(".work/stages/train/*/*-*.safetensors"))
    parts = root.glob(".cache/embeddings/*/*/part-*.parquet")
    drawn = [p for d in root.glob(".cache/meadow/*/digests.json") for p in d.parent.glob("*.zip")]
    return Left(
        finished=json.loads(kept[0])["record"]["record_id"] if kept else None,
        checkpoints={name: int(seen) for name, seen in (p.stem.split("-") for p in checkpoints)},
        embedded=sum(pq.read_metadata(part).num_rows for part in parts),
        drawn={path.name: path.stat().st_mtime_ns for path in drawn},
    )


def require_not_done_twice(project: Project, stage: str, left: Left, printed: str) -> None:
    """What was done for good at the kill was used, and not made again."""
    record = project.record(stage)
    if left.finished:
        assert record["record_id"] == left.finished, printed
    elif stage == "train":
        begun = dict(re.findall(r"(\w+): goes on from (\d+) of", printed))
        assert {name: int(seen) for name, seen in begun.items()} == left.checkpoints, printed
    elif stage == "embed":
        assert record["reused"] >= left.embedded
    elif stage == "annotations":
        now = what_is_left(project, stage).drawn
        assert left.drawn.items() <= now.items()


def locked(project: Project) -> dict[str, Any]:
    """By stage, digests of its outs in dvc.lock, but for the records, which hold times."""
    stages = YAML(typ="safe").load(project.root / "dvc.lock")["stages"]
    return {
        name: {out["path"]: out["md5"] for out in entry["outs"] if "records" not in out["path"]}
        for name, entry in stages.items()
    }


def run_rounds(
    target: Path, rounds: int, seed: int, stages: Sequence[str] = STAGES
) -> Counter[str]:
    """Kill these stages in turn, so many times; counts how far the killed runs were, by stage."""
    project, took_s = toy_project(target)
    chance = random.Random(seed)  # noqa: S311 - no secret
    found: Counter[str] = Counter()
    for number in range(rounds):
        turn, place = divmod(number, len(stages))
        stage = stages[place]
        # One round a turn, of another stage each time, is sure to be before DVC's commit.
        at_end = place == (len(stages) - 1 - turn) % len(stages)
        how = kill_and_repeat(project, stage, took_s[stage], chance, at_end=at_end)
        found[f"{stage}: killed {how}"] += 1
        print(f"{number + 1} of {rounds}, seed {seed}: {stage} killed {how}", flush=True)  # noqa: T201
    return found


def main() -> None:
    """As many rounds as are asked for, in a project of their own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        found = run_rounds(Path(scratch) / "p", asked.rounds, asked.seed, asked.stages)
    for line, count in sorted(found.items()):
        print(f"{count:4d} {line}")  # noqa: T201


if __name__ == "__main__":
    main()

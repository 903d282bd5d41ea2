"""The figures of a training run, for reports/train.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from bucolic.base.loading import loaded
from bucolic.models.kinds import Kind
from bucolic.training.guidance import Sampling


def reached(
    curves: Sequence[Mapping[str, Any]],
    kind: Kind,
    networks: Mapping[str, nn.Module],
    sampling: Sampling,
) -> dict[str, Any]:
    """What the kept weights reached on val, where they were found, and what they cost.

    Args:
        curves: every validation of all phases, as in curves.jsonl.
        kind: says what of them is a figure.
        networks: by phase, what was trained.
        sampling: the frozen choice.
    """
    rows = {name: [row for row in curves if row["phase"] == name] for name in networks}
    best = {name: min(found, key=lambda row: row["val_loss"]) for name, found in rows.items()}
    return {
        **loaded(kind.reached)(best),
        "images_seen": {name: found[-1]["images_seen"] for name, found in rows.items()},
        "best_at_images": {name: row["images_seen"] for name, row in best.items()},
        "parameters": {
            name: sum(parameter.numel() for parameter in network.parameters())
            for name, network in networks.items()
        },
        "guidance": sampling.guidance,
        "steps": sampling.steps,
    }

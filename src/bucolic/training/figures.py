"""The figures of a training run, for reports/train.json."""

from collections.abc import Mapping, Sequence
from typing import Any

from bucolic.models.generator import Generator
from bucolic.training.guidance import Sampling


def reached(
    curves: Sequence[Mapping[str, Any]], generator: Generator, sampling: Sampling
) -> dict[str, Any]:
    """What the kept weights reached on val, where they were found, and what they cost.

    Args:
        curves: every validation of both phases, as in curves.jsonl.
        generator: the trained model.
        sampling: the frozen choice.
    """
    parts = {"autoencoder": generator.autoencoder, "prior": generator.prior}
    rows = {name: [row for row in curves if row["phase"] == name] for name in parts}
    best = {name: min(found, key=lambda row: row["val_loss"]) for name, found in rows.items()}
    autoencoder, prior = best["autoencoder"], best["prior"]
    return {
        "val_psnr_db": autoencoder["val_psnr_db"],
        "val_bound_nats": autoencoder["val_loss"],
        "kl_nats": autoencoder["val_kl_nats"],
        "sigma": autoencoder["val_sigma"],
        "val_flow_loss": prior["val_loss"],
        "train_flow_loss": prior["train_loss"],
        "images_seen": {name: found[-1]["images_seen"] for name, found in rows.items()},
        "best_at_images": {name: row["images_seen"] for name, row in best.items()},
        "parameters": {n: sum(p.numel() for p in part.parameters()) for n, part in parts.items()},
        "guidance": sampling.guidance,
        "steps": sampling.steps,
    }

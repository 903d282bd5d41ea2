"""The entry of the original study's model among the kinds; see models/kinds.py."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bucolic.models.dlfp.config import DlfpConfig
from bucolic.models.kinds import Curve, Kind

if TYPE_CHECKING:
    from bucolic.models.dlfp.model import Dlfp

HERE = "bucolic.models.dlfp"
KIND = Kind(
    config=f"{HERE}.config:DlfpConfig",
    training=f"{HERE}.config:DlfpTrainConfig",
    build=f"{HERE}.kind:build",
    plan=f"{HERE}.phases:plan",
    reached=f"{HERE}.kind:reached",
    curves=(
        Curve("autoencoder", "loss", "Original study: its loss", "lower"),
        Curve("autoencoder", "psnr_db", "Original study: reconstruction, dB PSNR", "higher"),
    ),
    side_multiple_px=64,
)


def build(config: DlfpConfig, *, size_px: int, embed_dim: int) -> "Dlfp":
    """An untrained model; its weights are drawn from torch's own random state."""
    from bucolic.models.dlfp.model import Dlfp  # noqa: PLC0415 - params are read without torch

    return Dlfp(config.dropout, size_px=size_px, embed_dim=embed_dim)


def reached(best: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of the best validation."""
    found = best["autoencoder"]
    return {
        "val_psnr_db": found["val_psnr_db"],
        "val_study_loss": found["val_loss"],
        "kl_nats": found["val_kl_nats"],
    }

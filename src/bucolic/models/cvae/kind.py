"""The entry of the CVAE among the kinds; see models/kinds.py."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bucolic.models.cvae.config import DOWNSCALE, CvaeConfig
from bucolic.models.kinds import Curve, Kind

if TYPE_CHECKING:
    from bucolic.models.cvae.model import Cvae

HERE = "bucolic.models.cvae"
KIND = Kind(
    config=f"{HERE}.config:CvaeConfig",
    training=f"{HERE}.config:CvaeTrainConfig",
    build=f"{HERE}.kind:build",
    plan=f"{HERE}.phases:plan",
    reached=f"{HERE}.kind:reached",
    curves=(
        Curve("autoencoder", "loss", "Autoencoder: loss, nats per pixel value", "lower"),
        Curve("autoencoder", "psnr_db", "Autoencoder: reconstruction, dB PSNR", "higher"),
        Curve("prior", "loss", "Prior: flow loss", "lower"),
    ),
    side_multiple_px=DOWNSCALE,
)


def build(config: CvaeConfig, *, size_px: int, embed_dim: int) -> "Cvae":
    """An untrained model; its weights are drawn from torch's own random state."""
    from bucolic.models.cvae.model import Cvae  # noqa: PLC0415 - params are read without torch

    return Cvae(
        config.autoencoder,
        config.prior,
        config.latent_prior,
        config.text_prior,
        config.text_draws,
        size_px=size_px,
        embed_dim=embed_dim,
    )


def reached(best: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Figures of the best validation of each phase."""
    autoencoder, prior = best["autoencoder"], best.get("prior", {})
    of_flow = {f"{split}_flow_loss": prior[f"{split}_loss"] for split in ("val", "train") if prior}
    return {
        "val_psnr_db": autoencoder["val_psnr_db"],
        "val_bound_nats": autoencoder["val_bound"],
        "kl_nats": autoencoder["val_kl_nats"],
        "sigma": autoencoder["val_sigma"],
        **of_flow,
    }

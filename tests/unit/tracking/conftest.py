"""Fixtures: records as execute.py leaves them, and one MLflow database made once."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bucolic.pipeline.digests import digest
from bucolic.tracking.mlflow_store import SETTINGS, open_store
from made_records import record_of, write_json

Leave = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty MLflow database; making one takes seconds, so tests copy it."""
    home = tmp_path_factory.mktemp("mlflow")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        from mlflow import MlflowClient

        MlflowClient(f"sqlite:///{home}/mlflow.db").search_experiments()
    return home / "mlflow.db"


@pytest.fixture
def home(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A HOME with a database and nothing in it."""
    for name in ("MLFLOW_TRACKING_URI", "BUCOLIC_TRACKING", "BUCOLIC_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    folder = tmp_path / "home"
    folder.mkdir()
    shutil.copyfile(database, folder / "mlflow.db")
    return folder


@pytest.fixture
def client(home: Path) -> Any:
    """MLflow's client on HOME's database."""
    return open_store(home).client


@pytest.fixture
def leave(home: Path) -> Leave:
    """Leave a record of a stage in the outbox, its outputs in the workspace; returns it."""

    def leave_record(stage: str, **changes: Any) -> dict[str, Any]:
        record = {**record_of(stage), "root": str(home), **changes}
        if record["status"] == "ok":
            outputs = [*changes.get("outputs", {}), f"reports/{stage}.json"]
            write_json(home / f"reports/{stage}.json", record["figures"])
            record["outputs"] = {path: digest(home / path) for path in outputs}
            write_json(home / f"reports/records/{stage}.json", record)
        write_json(home / f".work/outbox/{record['record_id']}.json", record)
        return record

    return leave_record


@pytest.fixture
def weights(home: Path) -> Callable[[int], str]:
    """Write a model folder as train does, untrained and small; returns its digest."""

    def write(seed: int) -> str:
        import torch

        from bucolic.models.cvae.config import AutoencoderConfig, PriorConfig
        from bucolic.models.cvae.model import Cvae
        from bucolic.models.store import write_model

        torch.manual_seed(seed)
        shapes = AutoencoderConfig(4, 16, 1, 1, 16), PriorConfig(32, 2, 16)
        points = [
            {"phase": phase, "images_seen": step, "loss": scale / step}
            for phase, scale in (("autoencoder", 1.0), ("prior", 2.0))
            for step in (10, 20, 30)
        ]
        folder = home / "models" / "current"
        about = {
            "sampling": {"guidance": 2.0, "steps": 2},
            "clip": {},
            "clip_config": {"model": ""},
        }
        write_model(folder, Cvae(*shapes, size_px=32, embed_dim=8), about | {"seed": seed}, points)
        return str(digest(folder))

    return write

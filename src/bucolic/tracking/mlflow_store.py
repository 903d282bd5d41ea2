"""MLflow's store: one experiment, a parent run per pipeline, a child run per stage execution.

The database and the artifacts lie under HOME by absolute addresses, whatever folder a stage runs
in. A tracking server named by MLFLOW_TRACKING_URI is used instead where the user sets one.
"""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bucolic.base.files import fingerprint
from bucolic.base.lock import waiting_for
from bucolic.base.places import database_path
from bucolic.pipeline.services import MLFLOW_PAGE, MLFLOW_VIEW, QUIET
from bucolic.tracking import described

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

LOG = logging.getLogger(__name__)
EXPERIMENT = "bucolic"
DRIVER = "driver"  # tag of the process whose end ends the pipeline
ARTIFACT_ROOT = "_MLFLOW_SERVER_ARTIFACT_ROOT"
ALL_RUNS = 3  # mlflow.entities.ViewType.ALL, without the seconds that importing it takes
YES, NO = {"on", "1", "true", "yes", ""}, {"off", "0", "false", "no"}
PARENT = "mlflow.parentRunId"
KIND = {"mlflow.experimentKind": "custom_model_development"}  # runs and curves, not chat traces
SETTINGS = {
    **QUIET,
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",  # the outbox tries again; a stage must not wait
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
}


@dataclass(frozen=True)
class Store:
    """The opened experiment.

    Attributes:
        client: MLflow's.
        experiment_id: of the experiment `bucolic`.
        page: address where a browser finds MLflow.
    """

    client: "MlflowClient"
    experiment_id: str
    page: str

    def address(self, run_id: str) -> str:
        """Address of a run's page."""
        return f"{self.page}/#/experiments/{self.experiment_id}/runs/{run_id}?{MLFLOW_VIEW}"

    def find(self, **tags: str) -> list["Run"]:
        """Runs that carry all the tags, the latest first."""
        wanted = " and ".join(f"tags.`{name}` = '{value}'" for name, value in tags.items())
        return list(self.client.search_runs([self.experiment_id], wanted, max_results=1000))

    def holds(self, record: described.Record) -> bool:
        """Whether a run tells of the record, one that was deleted by hand included."""
        wanted = f"tags.record_id = '{record['record_id']}' and tags.kind = 'stage'"
        found = self.client.search_runs([self.experiment_id], wanted, ALL_RUNS, max_results=1)
        return bool(found)

    def running(self, kind: str) -> list["Run"]:
        """Runs of a kind, `stage` or `pipeline`, that have not ended."""
        wanted = f"attributes.status = 'RUNNING' and tags.kind = '{kind}'"
        return list(self.client.search_runs([self.experiment_id], wanted, max_results=1000))

    def parent_of(self, record: described.Record) -> str:
        """Id of the pipeline's run, made when its first stage reports."""
        found = self.find(pipeline_id=record["pipeline_id"], kind="pipeline")
        if found:
            return str(found[0].info.run_id)
        tags = {
            "kind": "pipeline",
            "pipeline_id": record["pipeline_id"],
            "keywords": described.keywords(record),
            "mlflow.source.name": "bucolic",
            "mlflow.source.git.commit": str((record.get("git") or {}).get("commit")),
        }
        return self._create(described.parent_name(record), described.started_ms(record), tags)

    def run_of(self, record: described.Record) -> str:
        """Id of the stage execution's run, made where it is not there yet."""
        found = self.find(record_id=record["record_id"], kind="stage")
        if found:
            return str(found[0].info.run_id)
        parent = self.parent_of(record)
        self._reopen(parent, record)
        tags = {"kind": "stage", PARENT: parent, **described.identity(record)}
        return self._create(described.run_name(record), described.started_ms(record), tags)

    def _reopen(self, parent: str, record: described.Record) -> None:
        """A pipeline of which a stage begins is RUNNING, whatever became of it before."""
        if record.get("driver"):
            self.client.set_tag(parent, DRIVER, record["driver"])
        self.client.update_run(parent, "RUNNING")

    def _create(self, name: str, start_ms: int, tags: Mapping[str, str]) -> str:
        run = self.client.create_run(self.experiment_id, start_ms, dict(tags), run_name=name)
        return str(run.info.run_id)


def enabled() -> bool:
    """Whether tracking is wanted: BUCOLIC_TRACKING=off switches it off."""
    asked = os.environ.get("BUCOLIC_TRACKING", "on").strip().lower()
    if asked not in YES | NO:
        _warn_of_unknown(asked)
    return asked not in NO


@cache
def _warn_of_unknown(asked: str) -> None:
    LOG.warning("BUCOLIC_TRACKING is %r, which is neither on nor off: taken as on", asked)


def open_store(home: Path) -> Store:
    """Open MLflow's store, making database and experiment on the first call.

    Call it under `exclusive(home)`: two processes that create one database disturb each other.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: PLC0415 - takes seconds; a stage that is not tracked must not pay them

    for name in ("alembic", "mlflow", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # their errors are raised as well
    own = f"sqlite:///{database_path(home / 'mlflow.db')}"
    uri = os.environ.get("MLFLOW_TRACKING_URI") or own
    if uri == own:
        # MLflow would try for minutes where it cannot be written.
        (home / "mlflow.db").open("ab").close()
        # Else the folder we happen to be in, whose name MLflow puts into SQL without escaping it.
        os.environ[ARTIFACT_ROOT] = (home / "mlartifacts").as_uri()
    mlflow.set_tracking_uri(uri)  # which sets MLFLOW_TRACKING_URI for the next call
    client = mlflow.MlflowClient(uri)
    page = uri.rstrip("/") if uri.startswith("http") else MLFLOW_PAGE
    return Store(client, _experiment(client, home / "mlartifacts" if uri == own else None), page)


def _experiment(client: Any, artifacts: Path | None) -> str:
    """Id of the experiment; one that was deleted by hand is brought back."""
    found = client.get_experiment_by_name(EXPERIMENT)
    if found is None:
        location = artifacts.as_uri() if artifacts else None
        return str(client.create_experiment(EXPERIMENT, location, tags=KIND))
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


@contextmanager
def exclusive(home: Path) -> Iterator[None]:
    """Hold the one lock under which runs are made and records sent; waits for its turn."""
    with waiting_for(_lock_of(home)):
        yield


def _lock_of(home: Path) -> Path:
    """HOME's lock; one of this user's among temporary files where HOME cannot be written."""
    path = home / ".work" / "locks" / "tracking.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("a").close()
    except OSError:
        name = f"bucolic-{os.getuid()}-{fingerprint(str(home))}.lock"
        return Path(tempfile.gettempdir(), name)
    return path

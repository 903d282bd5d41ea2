"""`bucolic up` with the real servers: they answer this machine and no foreign page."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from bucolic.pipeline import up

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Both servers as `up` starts them, in a folder of an odd name; their addresses."""
    root = tmp_path_factory.mktemp("up") / "50%20 & what?"
    (root / ".work/prefect").mkdir(parents=True)
    (root / "flows").symlink_to(ROOT / "flows")
    with pytest.MonkeyPatch.context() as patch, socket.socket() as one, socket.socket() as two:
        for name, free in (("PREFECT_PORT", one), ("MLFLOW_PORT", two)):
            free.bind(("127.0.0.1", 0))
            patch.setattr(up, name, free.getsockname()[1])
        one.close()
        two.close()
        environment = up._environment(root)
        started = [up._prefect(), up._mlflow(root)]
        with (
            up._running(started[0], root, environment, root) as prefect,
            up._running(started[1], root, environment, root) as mlflow,
        ):
            for server, child in zip(started, (prefect, mlflow), strict=True):
                up._wait_until_ready(server, child, root)
            yield tuple(server.health.rpartition("/")[0] for server in started)
    beside = [path.name for path in root.parent.iterdir()]
    assert beside == [root.name]  # neither database lies under a name that was cut or decoded
    assert (root / ".work/prefect/prefect.db").is_file()
    assert (root / "mlflow.db").is_file()


def answer(address: str, **headers: str) -> int:
    """Status of a POST of {} with these headers."""
    got = requests.post(address, json={}, headers=headers, timeout=30)
    assert got.headers.get("Access-Control-Allow-Origin") is None
    return got.status_code


def test_foreign_pages_are_refused(servers: tuple[str, str]):
    """By Origin, by a foreign name for this machine, and without the token of a client."""
    prefect = f"{servers[0]}/deployments/filter"
    mlflow = f"{servers[1]}/api/2.0/mlflow/experiments/search"
    for address in (prefect, mlflow):
        assert answer(address, Origin="http://evil.example") == 403
        assert answer(address, Host="10.evil.example:4200") == 403
    assert answer(prefect) == 403  # no token


@pytest.fixture
def client(servers: tuple[str, str]) -> "Iterator[SyncPrefectClient]":
    """Prefect's client as in a user's shell; it fetches the token that the server asks for."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: servers[0]}), get_client(sync_client=True) as client:
        yield client


def test_runs_that_a_killed_up_left_are_ended(
    servers: tuple[str, str], client: "SyncPrefectClient"
):
    """One that ran, and one about to run, are Crashed; one that is to run later waits on."""
    from prefect import flow
    from prefect.states import Completed, Pending, Running, Scheduled

    asked = (Running(), Pending(), Scheduled(), Completed())
    made = [client.create_flow_run(flow(lambda: None, name="left"), state=one) for one in asked]
    environment = {**os.environ, "PREFECT_API_URL": servers[0]}
    subprocess.run([sys.executable, ROOT / "flows/abandoned.py"], env=environment, check=True)
    after = [client.read_flow_run(run.id).state_name for run in made]
    assert ["Crashed", "Crashed", "Scheduled", "Completed"] == after

"""`bucolic up`: Prefect server and worker, deployments, MLflow pages; one Ctrl-C ends all of it.

Everything runs on this machine's loopback address, as children of this process, each in a process
group of its own, with its output in .work/logs/NAME.log.
"""

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bucolic.base.errors import TransientError
from bucolic.base.lock import holding
from bucolic.base.places import database_path, find_home
from bucolic.base.signals import Ended, raising_ended
from bucolic.pipeline.environment import child_environment
from bucolic.pipeline.process import MARK, end_marked, end_tree
from bucolic.pipeline.services import (
    HOST,
    MLFLOW_PORT,
    MLFLOW_RUNS,
    PREFECT_PORT,
    page,
)

POOL = "bucolic-local"
START_LIMIT_S = 240.0
POLL_S = 0.5
GUIDE = """\
Prefect   {prefect}        runs, logs, artifacts
MLflow    {mlflow}
          experiment bucolic, registered model bucolic-cvae
logs      {logs}
Run it:   prefect deployment run 'bucolic/local' --watch
          prefect deployment run 'bucolic/local' --param 'keywords=["cow", "sheep"]' --watch
Ctrl-C ends all of it."""


@dataclass(frozen=True)
class Server:
    """A child that keeps running.

    Attributes:
        name: for messages, and of its log file.
        command: program and arguments.
        health: address that answers 200 once it is ready; "" for one that has no address.
    """

    name: str
    command: Sequence[str]
    health: str = ""


def up(root: Path) -> int:
    """Start everything, print where it is, wait for Ctrl-C, end everything; return an exit code.

    Raises:
        TransientError: another one of this checkout runs, a port is taken, or one of the children
            did not start or ended by itself.
    """
    logs = root / ".work" / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    with holding(root / ".work" / "locks" / "up.lock"):
        if left := end_marked(str(root)):
            print(f"ended what a killed `make up` had left: {left} processes")  # noqa: T201
        for port, use in ((PREFECT_PORT, "Prefect's server"), (MLFLOW_PORT, "MLflow's pages")):
            _require_free(port, use)
        try:
            with raising_ended(once=True), ExitStack() as stack:
                stack.callback(end_marked, str(root))  # last: what has lost its parent
                _start_all(stack, root, find_home(root), logs)
        except Ended:
            print("ended")  # noqa: T201 - the command's own words
    return 0


def _start_all(stack: ExitStack, root: Path, home: Path, logs: Path) -> None:
    """Start servers, then deployments, then the worker; then watch until something ends."""
    environment = _environment(root)
    print("starting Prefect and MLflow (a minute or so the first time)", flush=True)  # noqa: T201
    children = {}
    for server in (_prefect(), _mlflow(home)):
        children[server.name] = stack.enter_context(_running(server, root, environment, logs))
    for server in (_prefect(), _mlflow(home)):
        _wait_until_ready(server, children[server.name], logs)
    _deploy(root, environment, logs)
    children["worker"] = stack.enter_context(_running(_worker(), root, environment, logs))
    guide = GUIDE.format(prefect=page(PREFECT_PORT), mlflow=MLFLOW_RUNS, logs=logs)
    print(guide, flush=True)  # noqa: T201
    _watch(children, logs)


def _environment(root: Path) -> dict[str, str]:
    """What every child gets; BUCOLIC_ROOT is what prefect.yaml's pull step reads.

    By their mark all are found and ended, those whose starter was killed, too.
    """
    prefect = root / ".work" / "prefect"
    database = f"sqlite+aiosqlite:///{database_path(prefect / 'prefect.db')}"
    return child_environment(
        {
            "BUCOLIC_ROOT": str(root),
            MARK: str(root),
            "PREFECT_HOME": str(prefect),
            "PREFECT_API_DATABASE_CONNECTION_URL": database,
            "PREFECT_API_URL": f"{page(PREFECT_PORT)}/api",
            # Left alone, Prefect lets any page that the user visits read it and start runs.
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(
                page(PREFECT_PORT, host) for host in (HOST, "localhost")
            ),
            "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
            "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
    )


def _prefect() -> Server:
    command = [sys.executable, "flows/server.py", HOST, str(PREFECT_PORT)]
    return Server("prefect", command, f"{page(PREFECT_PORT)}/api/health")


def _mlflow(home: Path) -> Server:
    command = ["mlflow", "server", "--host", HOST, "--port", str(MLFLOW_PORT), "--workers", "1"]
    # Its own list has 10.* in it, which a name such as 10.example.org meets.
    hosts = ["--allowed-hosts", f"{HOST}:*,localhost:*"]
    store = ["--backend-store-uri", f"sqlite:///{database_path(home / 'mlflow.db')}"]
    artifacts = ["--default-artifact-root", (home / "mlartifacts").as_uri()]
    health = f"{page(MLFLOW_PORT)}/health"
    return Server("mlflow", [*command, *hosts, *store, *artifacts], health)


def _worker() -> Server:
    return Server("worker", ["prefect", "worker", "start", "--pool", POOL, "--type", "process"])


def _deploy(root: Path, environment: dict[str, str], logs: Path) -> None:
    """Make the work pool, apply prefect.yaml, and end the runs that no worker is at any more."""
    pool = ["work-pool", "create", POOL, "--type", "process", "--overwrite"]
    deployments = ["deploy", "--all", "--prefect-file", str(root / "prefect.yaml")]
    log = logs / "deploy.log"
    for command in (
        ["prefect", "--no-prompt", *pool],
        ["prefect", "--no-prompt", *deployments],
        [sys.executable, "flows/abandoned.py"],
    ):
        with log.open("a") as file:
            done = subprocess.run(
                command, cwd=root, env=environment, stdout=file, stderr=file, check=False
            )
        if done.returncode:
            raise TransientError(f"`{' '.join(command)}` failed: {_last_line(log)}; see {log}")


@contextmanager
def _running(
    server: Server, root: Path, environment: dict[str, str], logs: Path
) -> Iterator[subprocess.Popen[str]]:
    """Start a server in a group of its own, which does not outlive the block."""
    with (logs / f"{server.name}.log").open("w") as log:
        child = subprocess.Popen(
            server.command,
            cwd=root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # Ctrl-C reaches this process alone, which ends them in order
        )
    try:
        yield child
    finally:
        end_tree(child)


def _wait_until_ready(server: Server, child: subprocess.Popen[str], logs: Path) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while not _answers(server.health):
        _require_alive(server.name, child, logs)
        if time.monotonic() > deadline:
            log = logs / f"{server.name}.log"
            raise TransientError(
                f"{server.name} did not answer within {START_LIMIT_S:.0f} s; see {log}"
            )
        time.sleep(POLL_S)


def _watch(children: dict[str, subprocess.Popen[str]], logs: Path) -> None:
    while True:
        for name, child in children.items():
            _require_alive(name, child, logs)
        time.sleep(POLL_S)


def _require_alive(name: str, child: subprocess.Popen[str], logs: Path) -> None:
    if child.poll() is not None:
        log = logs / f"{name}.log"
        raise TransientError(f"{name} ended by itself: {_last_line(log)}; see {log}")


def _require_free(port: int, use: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            raise TransientError(
                f"port {port}, wanted for {use}, is taken: end what listens there "
                f"(`ss -ltnp | grep {port}` names it), perhaps another `make up`"
            ) from None


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - loopback, http
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip() if lines else "without a word"

"""`bucolic up`: everything starts in order, and one signal ends all of it."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bucolic.base.errors import TransientError
from bucolic.base.lock import holding
from bucolic.pipeline import up
from bucolic.pipeline.process import MARK, end_tree
from bucolic.pipeline.up import Server

HEALTHY = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


@pytest.fixture
def ports(monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Two free ports in place of Prefect's and MLflow's."""
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        free = one.getsockname()[1], two.getsockname()[1]
    monkeypatch.setattr(up, "PREFECT_PORT", free[0])
    monkeypatch.setattr(up, "MLFLOW_PORT", free[1])
    return free


@pytest.fixture
def stand_ins(ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Small servers in place of Prefect and MLflow; the deployment is noted."""
    called: list[str] = []

    def server(name: str, port: int) -> Server:
        command = [sys.executable, "-c", HEALTHY, str(port)]
        return Server(name, command, f"http://127.0.0.1:{port}/health")

    monkeypatch.setattr(up, "_prefect", lambda: server("prefect", ports[0]))
    monkeypatch.setattr(up, "_mlflow", lambda _home: server("mlflow", ports[1]))
    monkeypatch.setattr(up, "_worker", lambda: Server("worker", ["sleep", "600"]))
    monkeypatch.setattr(up, "_deploy", lambda *_: called.append("deployed"))
    return called


@pytest.fixture
def ended_soon() -> Iterator[None]:
    """Send SIGTERM to this process once three children run."""

    def end() -> None:
        me = psutil.Process()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if any(child.name() == "sleep" for child in me.children()):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(0.05)

    thread = threading.Thread(target=end)
    thread.start()
    yield
    thread.join()


def test_one_signal_ends_all(
    tmp_path: Path,
    stand_ins: list[str],
    ended_soon: None,
    capsys: pytest.CaptureFixture[str],
):
    """Servers first, then deployments, then the worker; SIGTERM ends them and returns 0."""
    before = psutil.Process().children()
    assert up.up(tmp_path) == 0
    assert stand_ins == ["deployed"]
    assert psutil.Process().children() == before
    shown = capsys.readouterr().out
    assert "prefect deployment run 'bucolic/local' --watch" in shown
    assert shown.endswith("ended\n")
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_taken_port_is_one_line(tmp_path: Path, ports: tuple[int, int]):
    """The message names the port and how to find who has it; nothing is started."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[1]))
        taken.listen()
        with pytest.raises(TransientError, match=f"port {ports[1]}, wanted for MLflow") as caught:
            up.up(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_server_that_cannot_start_ends_the_others(
    tmp_path: Path, stand_ins: list[str], monkeypatch: pytest.MonkeyPatch
):
    """The last line of its log is the message, and what runs already is ended."""
    broken = Server("mlflow", ["bash", "-c", "echo no such database; exit 1"], "http://127.0.0.1:9")
    monkeypatch.setattr(up, "_mlflow", lambda _home: broken)
    before = psutil.Process().children()
    with pytest.raises(TransientError, match="mlflow ended by itself: no such database; see "):
        up.up(tmp_path)
    assert stand_ins == []
    assert psutil.Process().children() == before


ORPHANING = "setsid sleep 600 & echo $! > {file}; {then}"  # nobody's child once its parent ends


def pid_in(file: Path) -> int:
    """The process that a script has named, once it has."""
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text().strip()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(file.read_text())


def runs(pid: int) -> bool:
    """Whether a process is there, and not as a zombie alone."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_what_a_killed_up_has_left_is_ended_first(
    tmp_path: Path,
    stand_ins: list[str],
    ended_soon: None,
    capsys: pytest.CaptureFixture[str],
):
    """By the mark of its checkout; what has another's, or none, runs on."""
    left = {}
    for mark in (str(tmp_path), "of another checkout"):
        file = tmp_path / f"{len(mark)}.pid"
        script = ORPHANING.format(file=file, then="exit")
        subprocess.run(["bash", "-c", script], env={**os.environ, MARK: mark}, check=True)
        left[mark] = pid_in(file)
    try:
        assert up.up(tmp_path) == 0
        assert {mark: runs(pid) for mark, pid in left.items()} == {
            str(tmp_path): False,
            "of another checkout": True,
        }
        assert "had left: 1 process" in capsys.readouterr().out
    finally:
        os.kill(left["of another checkout"], signal.SIGKILL)


def test_what_a_worker_that_died_had_started_ends_with_the_rest(
    tmp_path: Path, stand_ins: list[str], monkeypatch: pytest.MonkeyPatch
):
    """It is nobody's descendant by then."""
    file = tmp_path / "run.pid"
    script = ORPHANING.format(file=file, then="sleep 1; echo out of memory; exit 1")
    monkeypatch.setattr(up, "_worker", lambda: Server("worker", ["bash", "-c", script]))
    with pytest.raises(TransientError, match="worker ended by itself: out of memory"):
        up.up(tmp_path)
    assert not runs(pid_in(file))


def test_a_second_up_of_one_checkout_is_turned_away(tmp_path: Path, ports: tuple[int, int]):
    """It would else end what the first one runs."""
    with (
        holding(tmp_path / ".work/locks/up.lock"),
        pytest.raises(TransientError, match="up is running already as process"),
    ):
        up.up(tmp_path)


def test_descendants_in_other_sessions_end_too():
    """A grandchild that leads a session of its own does not outlive the tree."""
    script = "setsid sleep 600 & echo $!; wait"
    child = subprocess.Popen(
        ["bash", "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert child.stdout
    grandchild = int(child.stdout.readline())
    end_tree(child)
    child.stdout.close()
    assert child.poll() is not None
    assert not psutil.pid_exists(grandchild) or (
        psutil.Process(grandchild).status() == psutil.STATUS_ZOMBIE
    )

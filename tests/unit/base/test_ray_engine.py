"""The engine on Ray, started on this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import ray
from ray.exceptions import RayError

from bucolic.base.engine import Local, Ready, choose_engine
from bucolic.base.errors import DataError, ParamsError, TransientError
from bucolic.base.ray_engine import RayEngine


@pytest.fixture(scope="module")
def engine() -> Iterator[RayEngine]:
    """Two workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUCOLIC_WORKERS", "2")
        yield RayEngine(None)
    ray.shutdown()


def opened() -> Callable[[Iterable[int]], Iterator[tuple[int, int]]]:
    """A worker that squares, and says which process it was opened in."""
    process = os.getpid()
    return lambda items: ((item * item, process) for item in items)


def failing(items: Iterable[int]) -> Iterator[int]:
    """A worker that refuses the third item."""
    for item in items:
        if item == 2:
            raise DataError("the third is broken")
        yield item


def dying(items: Iterable[int]) -> Iterator[int]:
    """A worker whose process ends."""
    os._exit(len(list(items)))


def test_nothing_to_work_on_starts_nothing(engine: RayEngine):
    """A stage that has all it needs does not wait for a cluster."""
    assert list(engine.map(opened, [])) == []
    assert not ray.is_initialized()


def test_results_come_in_the_order_of_the_items_from_several_processes(engine: RayEngine):
    """Chunks go round, each worker being opened once."""
    found = list(engine.map(opened, range(23), chunk=3))
    assert [square for square, _ in found] == [n * n for n in range(23)]
    processes = [process for _, process in found]
    assert len(set(processes)) == 2
    assert os.getpid() not in processes
    assert processes[:3] == [processes[0]] * 3


def test_what_is_wrong_with_an_item_is_told_as_in_this_process(engine: RayEngine):
    """The error itself, behind the results before it."""
    results = engine.map(Ready(failing), range(5), chunk=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(DataError, match=r"^the third is broken$"):
        next(results)


def refusing() -> Callable[[Iterable[int]], Iterator[int]]:
    """What cannot be opened."""
    raise DataError("the archive is broken")


def test_what_is_wrong_in_opening_is_told_as_in_this_process(engine: RayEngine):
    """And is no reason to run the same command again."""
    with pytest.raises(DataError, match=r"^the archive is broken$"):
        list(engine.map(refusing, range(3)))


def test_workers_that_no_machine_can_hold_are_refused(engine: RayEngine):
    """They would be waited for for ever."""
    assert engine.workers(cpus=2) == 1
    with pytest.raises(ParamsError, match="no machine of the Ray cluster has the 3 cores"):
        list(engine.map(opened, range(3), cpus=3))


def test_there_are_no_more_workers_than_chunks_and_than_are_asked_for(engine: RayEngine):
    """One chunk opens one, and so does a limit of one."""
    for chunk, most in ((9, None), (1, 1)):
        found = list(engine.map(opened, range(5), chunk=chunk, most=most))
        assert len({process for _, process in found}) == 1


def test_signals_are_heard_as_before(engine: RayEngine):
    """Ray would take SIGTERM for its own, and the exit code with it."""
    ray.shutdown()
    former = signal.getsignal(signal.SIGTERM)
    assert engine.workers() == 2
    assert signal.getsignal(signal.SIGTERM) is former


@pytest.mark.parametrize(
    ("failure", "of_cluster"),
    [
        (RuntimeError("no GCS"), ParamsError),
        (Exception("timed out"), ParamsError),
        (RayError("token"), ParamsError),
        (ConnectionError("away"), TransientError),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("address", [None, "ray://a:1"])
def test_what_does_not_start_here_may_pass_and_what_answers_otherwise_is_to_be_mended(
    monkeypatch: pytest.MonkeyPatch,
    address: str | None,
    failure: Exception,
    of_cluster: type[Exception],
):
    """Whatever Ray raises, in one line with what to do."""

    def init(**_: object) -> None:
        raise failure

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(RayEngine, "_require_answer", lambda *_: None)
    kind, advice = (of_cluster, "RAY_AUTH_TOKEN") if address else (TransientError, "again")
    with pytest.raises(kind, match=f"{failure}.*{advice}"):
        RayEngine(address).workers()


def test_a_cluster_that_is_not_there_is_for_now(engine: RayEngine):
    """In one line, with its address."""
    ray.shutdown()
    with pytest.raises(TransientError, match=r"Ray at ray://127\.0\.0\.1:1"):
        RayEngine("ray://127.0.0.1:1").workers()
    assert engine.workers() == 2


def killed_once(items: Iterable[Path]) -> Iterator[str]:
    """A worker whose process is killed at the first item that has no mark yet."""
    for item in items:
        if not item.exists():
            item.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield item.name


def test_a_worker_that_is_killed_is_started_again_and_so_is_its_work(
    engine: RayEngine, tmp_path: Path
):
    """The results are those of a run in which nothing happened."""
    marks = [tmp_path / str(number) for number in range(12)]
    for mark in marks:
        if mark.name not in {"3", "8"}:
            mark.touch()
    found = list(engine.map(Ready(killed_once), marks, chunk=2))
    assert found == [mark.name for mark in marks]


BY_ADDRESS = """
import sys
from bucolic.base.engine import Ready
from bucolic.base.errors import DataError
from bucolic.base.ray_engine import RayEngine
def squaring(items):
    return (item * item for item in items)
def failing(items):
    raise DataError("the third is broken")
engine = RayEngine(sys.argv[1])
print(engine.workers(), list(engine.map(Ready(squaring), range(7), chunk=2)))
try:
    list(engine.map(Ready(failing), range(5)))
except Exception as error:
    print(type(error).__name__, error)
"""


@contextmanager
def head(folder: Path, port: int) -> Iterator[dict[str, str]]:
    """A cluster of one machine that asks for a token; the environment of who has it."""
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    environment = {**os.environ, **token}
    about = [f"--ray-client-server-port={port}", "--port=0", f"--temp-dir={folder}", "--num-cpus=2"]
    quiet = ["--include-dashboard=false", "--disable-usage-stats", "--block"]
    command = [str(Path(sys.executable).with_name("ray")), "start", "--head", *about, *quiet]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as child:
        try:
            assert any("Ray runtime started" in line for line in child.stdout)
            ends_s = time.monotonic() + 120  # the client's port opens a little later
            while not listens(port) and time.monotonic() < ends_s:
                time.sleep(0.2)
            yield environment
        finally:
            child.terminate()


def test_a_cluster_is_reached_by_its_address(tmp_path: Path):
    """By the client's port and the cluster's token: results and errors are as in this process.

    Who has another token is told in one line, and computes nothing.
    """
    port = free_port()
    with TemporaryDirectory(prefix="ray") as short, head(Path(short), port) as environment:
        for _ in range(5):
            done = subprocess.run(
                [sys.executable, "-c", BY_ADDRESS, f"ray://127.0.0.1:{port}"],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if "TransientError" not in done.stderr:  # what may pass, on a busy machine
                break
        refused = subprocess.run(
            [sys.executable, "-c", BY_ADDRESS, f"ray://127.0.0.1:{port}"],
            env={**environment, "RAY_AUTH_TOKEN": "f" * 64},
            capture_output=True,
            text=True,
            check=False,
        )
    *_, told = refused.stderr.splitlines()
    assert refused.stdout == ""
    assert "RAY_AUTH_TOKEN" in told
    assert done.stdout.splitlines() == [
        "2 [0, 1, 4, 9, 16, 25, 36]",
        "DataError the third is broken",
    ], done.stderr[-3000:]


def listens(port: int) -> bool:
    """Whether somebody does on this machine."""
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def free_port() -> int:
    """One that nobody listens at."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.parametrize("address", ["ray://nowhere", "ray://127.0.0.1:port"])
def test_an_address_that_is_none_is_to_be_mended(engine: RayEngine, address: str):
    """Another try would say the same."""
    ray.shutdown()
    with pytest.raises(ParamsError, match=f"Ray at {address}"):
        RayEngine(address).workers()
    assert engine.workers() == 2


def test_a_fault_of_the_code_says_where_it_is(engine: RayEngine):
    """By its own class, with what only the worker saw."""
    with pytest.raises(KeyError) as caught:
        list(engine.map(Ready(faulty), [1]))
    assert "in faulty" in str(caught.value.__cause__)


def faulty(items: Iterable[int]) -> Iterator[int]:
    """A worker that looks for what is not there."""
    return iter([{}[item] for item in items])


def test_a_worker_that_ends_each_time_is_for_now(engine: RayEngine):
    """Run again, the stage goes on with what is kept."""
    with pytest.raises(TransientError, match="a worker of Ray ended again and again"):
        list(engine.map(Ready(dying), range(2)))


@pytest.mark.parametrize(
    ("asked", "name"), [("", "local"), ("local", "local"), ("ray", "ray"), ("ray://a:1", "ray")]
)
def test_the_environment_names_the_engine(asked: str, name: str, monkeypatch: pytest.MonkeyPatch):
    """This process where nothing is asked for; a cluster of its own has a token of its own."""
    monkeypatch.setenv("BUCOLIC_ENGINE", asked)
    for variable in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(variable, "")  # so that it is restored
        monkeypatch.delenv(variable)
    assert choose_engine().name == name
    assert ("RAY_AUTH_TOKEN" in os.environ) is (asked == "ray")


def test_what_is_no_engine_is_refused(monkeypatch: pytest.MonkeyPatch):
    """With those there are; Ray, where it is missing, with how to get it."""
    monkeypatch.setenv("BUCOLIC_ENGINE", "spark")
    with pytest.raises(ParamsError, match="set local, ray or ray://HOST:PORT"):
        choose_engine()
    monkeypatch.setenv("BUCOLIC_ENGINE", "ray")
    monkeypatch.setattr("bucolic.base.engine.find_spec", lambda _: None)
    with pytest.raises(ParamsError, match="pip install"):
        choose_engine()


def test_this_process_is_one_worker():
    """Opened once, whatever the chunks."""
    engine = Local()
    found = list(engine.map(opened, range(5), chunk=2))
    assert (engine.threads(7), engine.device_of("cuda:1")) == (7, "cuda:1")
    assert (engine.workers(), found) == (1, [(n * n, os.getpid()) for n in range(5)])

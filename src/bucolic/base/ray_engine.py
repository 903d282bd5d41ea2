"""The engine on Ray: actors that work on chunks of items, a cluster's or this machine's.

All nodes need the same environment, and see the project, its data and .cache at the same paths:
what a worker makes is kept there, and used only if it is whole; results are gathered in the order
of the items. A worker that ends before its time is started again, a few times, and so is its chunk.
"""

import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, RuntimeEnvSetupError

from bucolic.base.engine import Item, Result, Worker, chunked
from bucolic.base.errors import BucolicError, ParamsError, TransientError
from bucolic.base.runtime import default_workers

WAITING_EACH = 2  # chunks that an actor has before it
ANSWERS_WITHIN_S = 10.0
STARTED_AGAIN = 3  # times, of an actor that ended, and of a chunk that ended with it


class RayEngine:
    """Ray: the cluster at an address, else one on this machine that ends with this process."""

    name = "ray"

    def __init__(self, address: str | None) -> None:
        self._address = address

    def workers(self, *, cpus: int = 1, gpus: int = 0) -> int:
        """As many as the machines of the cluster can hold, each within one of them.

        Raises:
            ParamsError: that is none.
        """
        self._start(cpus)
        nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
        there = [node["Resources"] for node in nodes if node["Alive"]]
        count = sum(_fitting(of_node, cpus, gpus) for of_node in there)
        if not count:
            needed = f"{cpus} cores" + (f" and {gpus} devices" if gpus else "")
            raise ParamsError(f"no machine of the Ray cluster has the {needed} of a worker")
        return count

    def threads(self, limit: int, cpus: int = 1) -> int:  # noqa: ARG002 - as in Engine
        """As many as it has cores: the others are other workers'."""
        return cpus

    def device_of(self, device: str) -> str:
        """Its kind: a worker sees the device alone that it was given."""
        return device.partition(":")[0]

    def map(
        self,
        open_worker: Callable[[], Worker[Item, Result]],
        items: Iterable[Item],
        *,
        chunk: int = 1,
        cpus: int = 1,
        gpus: int = 0,
        most: int | None = None,
    ) -> Iterator[Result]:
        """See `bucolic.base.engine.Engine`."""
        chunks = chunked(items, chunk)
        first = next(chunks, None)
        if first is None:
            return
        workers = min(self.workers(cpus=cpus, gpus=gpus), most or sys.maxsize)
        shared = ray.put(open_worker)
        actor: Any = ray.remote(_Actor).options(
            num_cpus=cpus,
            num_gpus=gpus,
            max_restarts=STARTED_AGAIN,
            max_task_retries=STARTED_AGAIN,
        )
        actors: list[Any] = []
        try:
            yield from _in_order(
                actors, lambda: actor.remote(shared, _code()), workers, chain([first], chunks)
            )
        finally:
            for each in actors:
                ray.kill(each)

    def _start(self, cpus: int) -> None:
        if ray.is_initialized():
            return
        about: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
        if self._address is None:
            about |= {"num_cpus": max(cpus, default_workers()), "include_dashboard": False}
        else:
            self._require_answer(self._address)
        # The code that is hashed is that of this process, whatever is installed there.
        about["runtime_env"] = {"env_vars": {"PYTHONPATH": str(Path(_code()).parent)}}
        former = signal.getsignal(signal.SIGTERM)
        try:
            ray.init(address=self._address or "local", **about)
        except Exception as error:  # noqa: BLE001 - Ray raises bare ones, too
            raise self._not_started(error) from None
        finally:
            if threading.current_thread() is threading.main_thread():
                signal.signal(signal.SIGTERM, former)  # which Ray takes for its own

    def _require_answer(self, address: str) -> None:
        """Look whether somebody listens there: Ray itself tries for half a minute."""
        place = urlsplit(address)
        try:
            host, port = place.hostname, place.port
        except ValueError as error:
            raise ParamsError(self._told(error)) from None
        if not (host and port):
            raise ParamsError(f"Ray at {address}: set ray://HOST:PORT")
        try:
            socket.create_connection((host, port), ANSWERS_WITHIN_S).close()
        except OSError as error:
            raise TransientError(self._told(error)) from None

    def _not_started(self, error: Exception) -> BucolicError:
        """On this machine that may pass; what answers at an address may be of another kind."""
        if self._address is None:
            return TransientError(f"{self._told(error)}: run the same command again")
        kind = TransientError if isinstance(error, ConnectionError) else ParamsError
        return kind(
            f"{self._told(error)}: see that the cluster has this version of Ray and of Python, "
            "and that RAY_AUTH_MODE and RAY_AUTH_TOKEN are its"
        )

    def _told(self, error: Exception) -> str:
        return f"Ray at {self._address or 'this machine'}: {' '.join(str(error).split())[:200]}"


def _fitting(of_node: Mapping[str, float], cpus: int, gpus: int) -> int:
    """How many workers a machine can hold."""
    by_cpus = of_node.get("CPU", 0) // cpus
    return int(min(by_cpus, of_node.get("GPU", 0) // gpus) if gpus else by_cpus)


def _code() -> str:
    """Where this process has the package from."""
    return str(Path(__file__).parents[1])


class _Actor:
    """Opens a worker, and gives it chunks."""

    def __init__(self, open_worker: Callable[[], Worker[Any, Any]], code: str) -> None:
        self._open, self._code = open_worker, code
        self._worker: Worker[Any, Any] | None = None

    def work(self, chunk: tuple[Any, ...]) -> list[Any]:
        """The results of a chunk; what fails in opening is told as what fails in working."""
        if _code() != self._code:
            raise ParamsError(f"a worker of Ray has bucolic from {_code()}, not {self._code}")
        if self._worker is None:
            self._worker = self._open()
        return list(self._worker(chunk))


def _in_order(
    actors: list[Any],
    another: Callable[[], Any],
    most: int,
    chunks: Iterable[tuple[Any, ...]],
) -> Iterator[Any]:
    """Results of chunks that are handed round, few of which wait at any time.

    There is no actor that has no chunk: `another` makes one where there are fewer than `most`.
    """
    waiting: deque[Any] = deque()
    for place, chunk in enumerate(chunks):
        if len(actors) < most:
            actors.append(another())
        elif len(waiting) >= WAITING_EACH * most:
            yield from _result(waiting.popleft())
        waiting.append(actors[place % most].work.remote(chunk))
    while waiting:
        yield from _result(waiting.popleft())


def _result(reference: Any) -> list[Any]:
    try:
        found: list[Any] = ray.get(reference)
    except RayTaskError as error:
        # What is a fault of the code says where, which only the worker saw.
        raise error.cause from (None if isinstance(error.cause, BucolicError) else error)
    except RayActorError as error:
        told = f"a worker of Ray ended again and again ({error}): run the same command again"
        raise TransientError(told) from None
    except RuntimeEnvSetupError as error:
        told = " ".join(str(error).split())[:200]
        raise ParamsError(f"Ray cannot open a worker: {told}") from None
    except RayError as error:  # memory, a lost machine
        told = " ".join(str(error).split())[:200]
        raise TransientError(f"Ray: {told}: run the same command again") from None
    return found

"""Mapping a function over many items at once, in order, without holding all of them in memory.

Within a process threads do it. What a stage does for each of its items it has an engine do, which
is this process, or Ray's actors on one machine or many: BUCOLIC_ENGINE names it, and it changes no
byte.
"""

import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import islice
from typing import Generic, Protocol, TypeVar

from bucolic.base.errors import ParamsError

Item = TypeVar("Item")
Result = TypeVar("Result")
Worker = Callable[[Iterable[Item]], Iterator[Result]]


@dataclass(frozen=True)
class Ready(Generic[Item, Result]):
    """Opens a worker that needs nothing to be opened."""

    worker: Worker[Item, Result]

    def __call__(self) -> Worker[Item, Result]:
        """That worker."""
        return self.worker


class Engine(Protocol):
    """Where the items of a stage are worked on."""

    @property
    def name(self) -> str:
        """What the record calls it."""

    def workers(self, *, cpus: int = 1, gpus: int = 0) -> int:
        """How many workers there will be at most, each with so many cores and devices."""

    def threads(self, limit: int, cpus: int = 1) -> int:
        """How many threads a worker of so many cores may use, where this process may `limit`."""

    def device_of(self, device: str) -> str:
        """What a worker calls the device that is `device` in this process."""

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
        """The result of each item, in their order.

        Args:
            open_worker: called once where work is done; what it returns is given items and yields
                their results in order. It, items and results can be pickled.
            items: what is worked on.
            chunk: how many items a worker is given at once, where there are several workers.
            cpus: cores that each worker computes with.
            gpus: devices, likewise.
            most: workers at once; None: as many as there can be.
        """


class Local:
    """This process."""

    name = "local"

    def workers(self, *, cpus: int = 1, gpus: int = 0) -> int:  # noqa: ARG002 - as in Engine
        """One, whose threads share the work."""
        return 1

    def threads(self, limit: int, cpus: int = 1) -> int:  # noqa: ARG002
        """All."""
        return limit

    def device_of(self, device: str) -> str:
        """That."""
        return device

    def map(
        self,
        open_worker: Callable[[], Worker[Item, Result]],
        items: Iterable[Item],
        *,
        chunk: int = 1,  # noqa: ARG002
        cpus: int = 1,  # noqa: ARG002
        gpus: int = 0,  # noqa: ARG002
        most: int | None = None,  # noqa: ARG002
    ) -> Iterator[Result]:
        """See `Engine.map`."""
        return open_worker()(items)


def choose_engine() -> Engine:
    """The engine that BUCOLIC_ENGINE names: local (the default), ray, or ray://HOST:PORT.

    Raises:
        ParamsError: it names none, or Ray is not installed.
    """
    asked = os.environ.get("BUCOLIC_ENGINE", "").strip() or Local.name
    if asked == Local.name:
        return Local()
    if asked != "ray" and not asked.startswith("ray://"):
        raise ParamsError(f"BUCOLIC_ENGINE is {asked!r}: set local, ray or ray://HOST:PORT")
    if find_spec("ray") is None:
        raise ParamsError("BUCOLIC_ENGINE asks for Ray: pip install -c constraints.txt -e '.[ray]'")
    if asked == "ray":
        # Ray's ports run what they are sent, and listen to the network: nobody else has this token.
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from bucolic.base.ray_engine import RayEngine  # noqa: PLC0415 - an extra, which reads them

    return RayEngine(None if asked == "ray" else asked)


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], *, workers: int
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in the order of the items.

    Threads do the work: decoding, resizing and fetching release the interpreter's lock. At most
    four times `workers` results wait, so memory stays bounded whatever the number of items. The
    first exception is raised where its result would have come.
    """
    source = iter(items)
    pool = ThreadPoolExecutor(max_workers=workers)
    try:
        waiting: deque[Future[Result]] = deque(
            pool.submit(function, item) for item in islice(source, 4 * workers)
        )
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        # Nobody waits for a transfer whose result nobody wants any more.
        pool.shutdown(wait=False, cancel_futures=True)


def chunked(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """The items, `size` at once and what is left of them."""
    left = iter(items)
    while chunk := tuple(islice(left, size)):
        yield chunk

"""Mapping a function over many items at once, in order, without holding all of them in memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


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

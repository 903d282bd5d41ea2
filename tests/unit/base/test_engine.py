"""Mapping in order with bounded memory."""

import threading

import pytest

from bucolic.base.engine import ordered_map


def test_results_come_in_order_and_few_wait():
    """Results keep the order of the items, and no more than four times the workers run ahead."""
    started = []
    lock = threading.Lock()

    def square(item: int) -> int:
        with lock:
            started.append(item)
        return item * item

    results = ordered_map(square, range(100), workers=2)
    assert 0 == next(results)
    assert len(started) <= 9
    assert [n * n for n in range(1, 100)] == list(results)


def test_an_error_comes_where_its_result_would():
    """Results before the failing item are delivered, then its error is raised."""
    results = ordered_map(lambda n: 1 // (3 - n), [1, 2, 3, 4], workers=1)
    assert [0, 1] == [next(results), next(results)]
    with pytest.raises(ZeroDivisionError):
        next(results)

"""Threads that read ahead and call later: order, errors and ends."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from depth_anything_ros.system.background import CallLater, ReadAhead


def names() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_items_come_in_order_and_from_another_thread() -> None:
    def items() -> Iterator[tuple[int, str]]:
        for number in range(100):
            yield number, threading.current_thread().name

    with ReadAhead(items(), 3) as ahead:
        assert list(ahead) == [(number, "read ahead") for number in range(100)]
    assert "read ahead" not in names()


def test_error_of_the_iterator_comes_in_its_place() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise OSError("disk gone")

    found = []
    with ReadAhead(items(), 3) as ahead, pytest.raises(OSError, match="disk gone"):
        found.extend(ahead)
    assert found == [1]


def test_reading_ends_with_the_block_however_much_is_left() -> None:
    read = []

    def items() -> Iterator[int]:
        for number in range(10**9):
            read.append(number)
            yield number

    with ReadAhead(items(), 2) as ahead:
        assert next(iter(ahead)) == 0
    assert len(read) <= 5
    assert "read ahead" not in names()


def test_calls_run_in_order_and_all_before_the_end() -> None:
    found: list[int] = []
    with CallLater(2) as later:
        for number in range(50):
            later.call(found.append, number)
    assert found == list(range(50))
    assert "call later" not in names()


def test_failed_call_ends_the_work_and_is_raised_once() -> None:
    done: list[int] = []
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("disk full")

    def work() -> None:
        with CallLater(1) as later:
            later.call(fail)
            failed.wait()
            for number in range(10):  # the queue is never stuck
                later.call(done.append, number)

    def work_that_ends_first() -> None:
        with CallLater(1) as later:
            later.call(fail)

    for run in (work, work_that_ends_first):
        with pytest.raises(OSError, match="disk full"):
            run()
    assert done == []
    assert "call later" not in names()

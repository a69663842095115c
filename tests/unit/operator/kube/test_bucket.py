"""Writes go out at a bounded rate, the most urgent first, and not while the API server wants none."""

from __future__ import annotations

import threading
import time
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_core.errors import Refused
from hpi_operator.kube.bucket import Bucket
from support.eventually import eventually

SECONDS: Final = 10.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@given(
    rate=st.floats(0.5, 500),
    burst=st.integers(1, 50),
    steps=st.lists(st.tuples(st.floats(0, 5), st.integers(0, 60)), max_size=20),
)
def test_no_stretch_of_time_has_more_writes_than_the_burst_and_the_rate(
    rate: float, burst: int, steps: list[tuple[float, int]]
) -> None:
    clock = Clock()
    bucket = Bucket(rate, burst, clock)
    moments: list[float] = []

    for seconds, wanted in steps:
        clock.now += seconds
        for _ in range(min(wanted, bucket.available)):
            bucket.take()
            moments.append(clock.now)

    for first, begun in enumerate(moments):
        for last in range(first, len(moments)):
            assert last - first + 1 <= burst + (moments[last] - begun) * rate + 1e-6


def test_a_full_bucket_gives_its_burst_at_once() -> None:
    bucket = Bucket(1.0, 7, Clock())

    assert bucket.available == 7


def test_an_empty_bucket_gives_the_next_token_after_one_over_the_rate() -> None:
    clock = Clock()
    bucket = Bucket(4.0, 1, clock)
    bucket.take()
    before = bucket.available

    clock.now += 0.25

    assert (before, bucket.available) == (0, 1)


def test_of_those_who_wait_the_most_urgent_goes_first_and_of_equals_the_earliest() -> None:
    bucket = Bucket(20.0, 1)
    bucket.pause(0.3)
    order: list[str] = []
    threads = []
    for name, priority in (("late", 9), ("first of two", 5), ("second of two", 5), ("urgent", 1)):

        def wait(name: str = name, priority: int = priority) -> None:
            bucket.take(priority)
            order.append(name)

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        eventually(lambda: bucket.waiting == len(threads), SECONDS)

    for thread in threads:
        thread.join(SECONDS)

    assert order == ["urgent", "first of two", "second of two", "late"]
    assert (bucket.taken, bucket.waiting) == (4, 0)


def test_a_pause_gives_nothing_and_what_would_have_come_meanwhile_is_lost() -> None:
    clock = Clock()
    bucket = Bucket(8.0, 5, clock)
    for _ in range(5):
        bucket.take()

    bucket.pause(3.0)
    clock.now += 2.75
    during = bucket.available
    clock.now += 0.25
    at_its_end = bucket.available
    clock.now += 0.125

    assert (during, at_its_end, bucket.available) == (0, 0, 1)


def test_a_pause_holds_back_tokens_that_are_there() -> None:
    clock = Clock()
    bucket = Bucket(10.0, 5, clock)

    bucket.pause(1.0)
    during = bucket.available
    clock.now += 1.0

    assert (during, bucket.available) == (0, 5)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    clock = Clock()
    bucket = Bucket(10.0, 5, clock)
    bucket.pause(10.0)

    bucket.pause(1.0)
    clock.now += 5.0

    assert bucket.available == 0


def test_a_thread_that_waits_through_a_pause_goes_on_by_itself() -> None:
    bucket = Bucket(1000.0, 1)
    bucket.pause(0.2)
    begun = time.monotonic()

    bucket.take()

    assert time.monotonic() - begun >= 0.2


@pytest.mark.parametrize(("rate", "burst"), [(0.0, 1), (-1.0, 1), (float("nan"), 1), (1.0, 0)])
def test_a_bucket_that_could_never_give_anything_is_refused(rate: float, burst: int) -> None:
    with pytest.raises(Refused, match="greater than 0"):
        Bucket(rate, burst)

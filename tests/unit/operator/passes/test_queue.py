"""A key waits at most once, runs at most once at a time, and is never lost."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpi_operator.passes.queue import FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS, Key, WorkQueue

SECONDS: Final = 10.0


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def a_queue() -> tuple[WorkQueue, Clock]:
    clock = Clock()
    return WorkQueue(clock, spread=lambda: 1.0), clock


def key(name: str) -> Key:
    return Key("HPIPipeline", "ns", name)


def taken(queue: WorkQueue) -> str | None:
    found = queue.take(timeout_seconds=0.0)
    return None if found is None else found.name


def test_keys_come_in_the_order_in_which_they_were_put() -> None:
    queue, _ = a_queue()
    for name in ("b", "a", "c"):
        queue.put(key(name))

    assert [taken(queue) for _ in range(4)] == ["b", "a", "c", None]


def test_a_key_that_is_put_again_before_its_turn_comes_once() -> None:
    queue, _ = a_queue()
    queue.put(key("a"))
    queue.put(key("a"))
    queue.put(key("a"), 5.0)

    assert [taken(queue), taken(queue)] == ["a", None]


def test_a_key_that_is_put_during_its_pass_comes_again_after_it() -> None:
    queue, _ = a_queue()
    queue.put(key("a"))
    queue.take()
    queue.put(key("a"))

    during = taken(queue)
    queue.done(key("a"))

    assert (during, taken(queue)) == (None, "a")


def test_a_key_with_a_delay_comes_when_it_is_due_and_not_before() -> None:
    queue, clock = a_queue()
    queue.put(key("a"), 2.0)
    clock.now = 1.999
    before = taken(queue)
    clock.now = 2.0

    assert (before, taken(queue)) == (None, "a")


@pytest.mark.parametrize("delays", [(5.0, 2.0), (2.0, 5.0)])
def test_of_several_delays_the_shortest_counts_and_the_key_comes_once(delays: tuple[float, float]) -> None:
    queue, clock = a_queue()
    for delay in delays:
        queue.put(key("a"), delay)

    clock.now = 2.0
    first = taken(queue)
    queue.done(key("a"))
    clock.now = 10.0

    assert (first, taken(queue)) == ("a", None)


def test_a_key_that_is_due_during_its_pass_comes_again_after_it() -> None:
    queue, clock = a_queue()
    queue.put(key("a"))
    queue.take()
    queue.put(key("a"), 1.0)
    clock.now = 1.0
    during = taken(queue)

    queue.done(key("a"))

    assert (during, taken(queue)) == (None, "a")


def backoffs(queue: WorkQueue, clock: Clock, count: int) -> list[float]:
    """Fail a key so many times in a row; return how long it waited each time."""
    waits = []
    queue.put(key("a"))
    queue.take()
    for _ in range(count):
        queue.done(key("a"), failed=True)
        begun = clock.now
        while taken(queue) is None:
            clock.now += 0.125
        waits.append(clock.now - begun)
    return waits


def test_failures_in_a_row_wait_twice_as_long_each_time_up_to_a_minute() -> None:
    queue, clock = a_queue()

    waits = backoffs(queue, clock, 9)

    assert waits == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS]


def test_a_success_ends_the_row_of_failures() -> None:
    queue, clock = a_queue()
    backoffs(queue, clock, 5)
    queue.done(key("a"))

    assert backoffs(queue, clock, 1) == [FIRST_BACKOFF_SECONDS]


def test_what_happened_during_a_pass_that_failed_begins_the_row_anew() -> None:
    queue, clock = a_queue()
    backoffs(queue, clock, 6)
    queue.put(key("a"))
    queue.done(key("a"), failed=True)

    clock.now += FIRST_BACKOFF_SECONDS

    assert taken(queue) == "a"


def test_a_failure_waits_at_least_as_long_as_the_server_asked() -> None:
    queue, clock = a_queue()
    queue.put(key("a"))
    queue.take()
    queue.done(key("a"), failed=True, at_least_seconds=30.0)

    clock.now = 29.9
    before = taken(queue)
    clock.now = 30.0

    assert (before, taken(queue)) == (None, "a")


def test_a_change_does_not_wait_for_the_end_of_a_backoff() -> None:
    queue, clock = a_queue()
    backoffs(queue, clock, 8)
    queue.done(key("a"), failed=True)

    queue.put(key("a"), 0.1)
    clock.now += 0.1

    assert taken(queue) == "a"


def test_a_pass_that_asks_to_be_looked_at_later_is() -> None:
    queue, clock = a_queue()
    queue.put(key("a"))
    queue.take()
    queue.done(key("a"), after_seconds=7.0)
    clock.now = 7.0

    assert taken(queue) == "a"


def test_a_pass_that_asks_for_another_at_once_gets_it_after_all_that_wait() -> None:
    queue, _ = a_queue()
    for name in ("a", "b", "c"):
        queue.put(key(name))
    queue.take()
    queue.done(key("a"), after_seconds=0.0)

    assert [taken(queue) for _ in range(4)] == ["b", "c", "a", None]


def test_a_queue_that_is_closed_gives_nothing_though_keys_wait() -> None:
    queue, _ = a_queue()
    queue.put(key("a"))

    queue.close()

    assert queue.take() is None


def test_whoever_waits_is_woken_by_the_end() -> None:
    queue = WorkQueue()
    ended: list[Key | None] = []
    thread = threading.Thread(target=lambda: ended.append(queue.take()))
    thread.start()

    queue.close()
    thread.join(SECONDS)

    assert ended == [None]


def test_whoever_waits_is_woken_by_a_key_that_is_due_earlier_than_the_one_waited_for() -> None:
    queue = WorkQueue()
    queue.put(key("late"), 3_600.0)
    found: list[Key | None] = []
    thread = threading.Thread(target=lambda: found.append(queue.take()))
    thread.start()

    queue.put(key("soon"), 0.01)
    thread.join(SECONDS)

    assert found == [key("soon")]


def test_ages_count_from_when_a_key_was_ready_and_from_when_its_pass_began() -> None:
    queue, clock = a_queue()
    queue.put(key("a"))
    queue.put(key("b"), 5.0)
    clock.now = 3.0
    waiting = (queue.oldest_seconds, queue.longest_running_seconds)
    queue.take()
    clock.now = 4.0

    assert waiting == (3.0, 0.0)
    assert (queue.oldest_seconds, queue.longest_running_seconds, queue.running, len(queue)) == (0.0, 1.0, 1, 0)


def test_delays_that_are_void_do_not_pile_up() -> None:
    queue, _ = a_queue()
    for delay in range(10_000, 0, -1):
        queue.put(key("a"), float(delay))

    assert len(queue._later) < 1_000


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from("abc"), st.sampled_from([0.0, 0.1, 1.0, 30.0])),
        st.tuples(st.just("take")),
        st.tuples(st.just("done"), st.sampled_from("abc"), st.booleans(), st.sampled_from([None, 0.0, 2.0])),
        st.tuples(st.just("pass"), st.sampled_from([0.05, 1.0, 20.0])),
    ),
    max_size=80,
)


@settings(deadline=None)
@given(ACTIONS)
def test_no_request_is_lost_and_no_key_runs_twice_at_a_time(actions: list[tuple[Any, ...]]) -> None:
    queue, clock = a_queue()
    running: Counter[str] = Counter()
    owed: set[str] = set()

    for what, *values in actions:
        if what == "put":
            queue.put(key(values[0]), values[1])
            owed.add(values[0])
        elif what == "take":
            name = taken(queue)
            if name is not None:
                running[name] += 1
                owed.discard(name)
        elif what == "done" and running[values[0]]:
            running[values[0]] -= 1
            queue.done(key(values[0]), failed=values[1], after_seconds=values[2])
            if values[1] or values[2] is not None:
                owed.add(values[0])
        elif what == "pass":
            clock.now += values[0]
        assert max(running.values(), default=0) <= 1

    for name in [one for one, count in running.items() if count]:
        queue.done(key(name))
    clock.now += 1_000.0
    came = set()
    while (name := taken(queue)) is not None:
        came.add(name)
        queue.done(key(name))
    assert owed <= came

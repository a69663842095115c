"""How busy others keep our cores: recorded texts, sums over trees, and a real stranger."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpi_agent.processes.process_tree import ProcessStat, descendants, read_stat
from hpi_agent.processes.quiet import (
    Clocks,
    QuietWatch,
    load_between,
    others_load,
    own_ticks,
    parse_busy_ticks,
    wait_for_quiet,
)
from support.children import a_child, ask, wait_for

RECORDED = """\
cpu  1136335 21 227401 46520217 16514 0 6321 32120 0 0
cpu0 567201 10 113911 23265143 7801 0 4021 16001 0 0
cpu1 569134 11 113490 23255074 8713 0 2300 16119 0 0
cpu11 5 5 5 5 5 5 5 5 5 5
intr 60712345 0 0
ctxt 123456
btime 1795250000
"""
"""/proc/stat of a virtual machine with two cores (Linux 6.18), with a line of another core added."""


def a_process(pid: int, parent: int, ticks: int = 0, session: int = 1, started: int = 0) -> ProcessStat:
    return ProcessStat(pid, "S", parent, session, ticks, started)


def test_busy_time_leaves_out_idleness_and_disks_and_counts_what_the_hypervisor_stole() -> None:
    assert parse_busy_ticks(RECORDED, [0]) == 567201 + 10 + 113911 + 0 + 4021 + 16001


def test_busy_time_is_that_of_the_cores_asked_for() -> None:
    one_by_one = [parse_busy_ticks(RECORDED, [cpu]) for cpu in (0, 1)]

    assert parse_busy_ticks(RECORDED, [1, 0]) == sum(one_by_one)


def test_a_core_without_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no line for the processors \[2\]"):
        parse_busy_ticks(RECORDED, [0, 2])


def test_a_kernel_without_the_later_columns_is_read() -> None:
    assert parse_busy_ticks("cpu0 1 2 3 4\n", [0]) == 6


def test_our_time_is_that_of_our_trees_alone() -> None:
    now = [a_process(10, 1, 100), a_process(11, 10, 20), a_process(12, 11, 3), a_process(20, 1, 5000)]

    assert own_ticks([10], [], now) == 123


def test_a_child_that_lost_its_parent_is_still_ours_but_not_its_successor_with_the_same_number() -> None:
    before = [a_process(10, 1, 100), a_process(11, 10, 20, started=7)]
    orphan, successor = a_process(11, 1, 30, started=7), a_process(11, 1, 9000, started=8)

    assert own_ticks([10], before, [a_process(10, 1, 100), orphan]) == 130
    assert own_ticks([10], before, [a_process(10, 1, 100), successor]) == 100


@given(st.integers(0, 10**6), st.integers(0, 10**4), st.integers(0, 10**4), st.integers(1, 64), st.floats(0.1, 100))
def test_the_load_is_what_is_busy_less_what_is_ours(
    start: int, busy: int, own: int, cores: int, seconds: float
) -> None:
    begin, end = Clocks(5.0, start, start), Clocks(5.0 + seconds, start + busy, start + own)

    load = load_between(begin, end, cores, 100)

    assert load >= 0
    assert load == pytest.approx(max(0, busy - own) / (100 * seconds * cores), rel=1e-6)


def test_a_whole_core_of_two_is_half() -> None:
    assert load_between(Clocks(0.0, 0, 0), Clocks(2.0, 300, 100), 2, 100) == 0.5


@given(st.lists(st.integers(0, 30), min_size=1, max_size=30))
def test_a_tree_holds_exactly_those_whose_ancestors_lead_to_a_root(parents: list[int]) -> None:
    # Process n + 1 descends from an earlier one, so that there are no circles; 0 and below are outside.
    processes = [a_process(n + 1, min(parent, n), session=0) for n, parent in enumerate(parents)]

    found = set(descendants([1], processes))

    by_pid = {stat.pid: stat.parent for stat in processes}
    for stat in processes:
        ancestor = stat.pid
        while ancestor > 1:
            ancestor = by_pid[ancestor]
        assert (stat.pid in found) == (ancestor == 1)


# Real processes.

BUSY = """
import os
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
while True:
    pass
"""


@pytest.fixture
def stranger() -> Iterator[int]:
    """Yield the number of a busy process that is nobody's child here."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as starter:
        assert starter.stdout is not None
        pid = int(starter.stdout.readline())
        starter.wait()
        yield pid
        os.kill(pid, 9)


def ticks_of(pid: int) -> int:
    stat = read_stat(pid)
    assert stat is not None
    return stat.ticks


def test_a_busy_stranger_raises_the_load_by_what_it_takes(stranger: int) -> None:
    cpus = os.sched_getaffinity(0)
    with_it = QuietWatch([os.getpid()], cpus)
    without_it = QuietWatch([os.getpid(), stranger], cpus)
    before = ticks_of(stranger)
    wait_for(lambda: ticks_of(stranger) >= before + 30)

    loads = (with_it.load(), without_it.load())

    print(f"load with the stranger {loads[0]:.2f}, with the stranger as ours {loads[1]:.2f}")
    assert loads[0] > loads[1]


def test_a_busy_child_of_ours_is_no_load() -> None:
    with a_child() as child:
        cpus = os.sched_getaffinity(0)
        as_ours = QuietWatch([os.getpid()], cpus)
        as_others = QuietWatch([2**22 + 1], cpus)
        ask(child, "work", ticks=30)

        loads = (as_ours.load(), as_others.load())

    print(f"load with the child as ours {loads[0]:.2f}, as another's {loads[1]:.2f}")
    assert loads[0] < loads[1]


def test_a_child_that_has_ended_is_still_no_load() -> None:
    cpus = os.sched_getaffinity(0)
    as_ours, as_others = QuietWatch([os.getpid()], cpus), QuietWatch([2**22 + 1], cpus)
    with a_child() as child:
        ask(child, "work", ticks=30)

    assert as_ours.load() < as_others.load()


def test_no_patience_looks_once() -> None:
    cpus = os.sched_getaffinity(0)

    load = wait_for_quiet([os.getpid()], cpus, limit=-1.0, patience_seconds=0.0)

    assert load >= 0


def test_waiting_ends_with_the_first_quiet_look() -> None:
    cpus = os.sched_getaffinity(0)

    load = wait_for_quiet([1], cpus, limit=1e9, patience_seconds=3600.0)

    assert load <= 1e9


def test_the_load_over_an_interval_is_a_fraction() -> None:
    assert others_load([os.getpid()], os.sched_getaffinity(0), 0.05) >= 0


def test_no_cores_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one processor"):
        QuietWatch([1], [])

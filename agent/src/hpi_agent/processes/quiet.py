"""How busy other process trees keep the cores that this process may use.

A measurement is worth remembering only when nobody else had the cores. Busy time of the cores comes from `/proc/stat`;
the time of our own trees, which is theirs to use, is taken off it. What remains belongs to others: other programs, and
the hypervisor, whose stolen time counts as theirs. Idle time and waiting for disks count as free.

Both clocks tick 100 times a second, so an interval of half a second has a step of 2 % per core.

Source:
    Linux, Documentation/filesystems/proc.rst, section 1.7 ("Miscellaneous kernel statistics in /proc/stat").
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpi_agent.processes.process_tree import PROC, ProcessStat, descendants, every_process

QUIET_LIMIT: Final = 0.10
"""Load of others above which a measurement is provisional, as a fraction of the cores."""
PATIENCE_SECONDS: Final = 10.0
WINDOW_SECONDS: Final = 0.5
MAX_STAT_BYTES: Final = 8 << 20
"""Most that is read of /proc/stat: 8,192 processors and all their interrupts fit. Unit: bytes."""

_BUSY: Final = (0, 1, 2, 5, 6, 7)
"""user, nice, system, irq, softirq, steal. Not idle and iowait; guest time is inside user already."""


def parse_busy_ticks(text: str, cpus: Collection[int]) -> int:
    """Return how long some cores were busy since boot, from the text of /proc/stat. Unit: ticks.

    Raises:
        ValueError: A core has no line: it is offline or does not exist.
    """
    found: dict[int, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            fields = rest.split()
            # Old kernels have fewer columns: steal came with 2.6.11.
            found[int(name[3:])] = sum(int(fields[column]) for column in _BUSY if column < len(fields))
    missing = sorted(set(cpus) - set(found))
    if missing:
        raise ValueError(f"/proc/stat has no line for the processors {missing}")
    return sum(found.values())


def own_ticks(own_roots: Iterable[int], before: Iterable[ProcessStat], now: Iterable[ProcessStat]) -> int:
    """Return the processor time of our own trees so far; pure. Unit: ticks.

    A child that has ended is in the time of the parent that waited for it, so the sum over a tree never loses it.

    Args:
        own_roots: Processes that head our trees.
        before: Members of our trees at the beginning: those that have lost their parent since are still ours.
        now: All processes.
    """
    processes = {stat.pid: stat for stat in now}
    members = descendants(own_roots, processes.values())
    for stat in before:
        still = processes.get(stat.pid)
        if still is not None and still.started == stat.started:
            members[stat.pid] = still
    return sum(stat.ticks for stat in members.values())


@dataclass(frozen=True)
class Clocks:
    """Readings of one moment. Unit: ticks, but for the seconds."""

    seconds: float
    busy: int
    own: int


def load_between(begin: Clocks, end: Clocks, cores: int, ticks_per_second: int) -> float:
    """Return the load of others between two readings, as a fraction of the cores; at least 0; pure."""
    ticks = (end.seconds - begin.seconds) * ticks_per_second * cores
    if ticks <= 0:
        return 0.0
    return max(0.0, ((end.busy - begin.busy) - (end.own - begin.own)) / ticks)


class QuietWatch:
    """Measures the load of others from its construction on."""

    def __init__(self, own_roots: Collection[int], cpus: Collection[int], proc: Path = PROC) -> None:
        """Begin.

        Args:
            own_roots: Processes whose trees are ours; this process is one of them when it is named.
            cpus: The cores that this process may use, at least one.
            proc: Where the kernel's files are.
        """
        if not cpus:
            raise ValueError("cpus must name at least one processor")
        self._roots = tuple(own_roots)
        self._cpus = frozenset(cpus)
        self._proc = proc
        self._members = tuple(descendants(self._roots, every_process(proc).values()).values())
        self._begin = self._read()

    def load(self) -> float:
        """Return the load of others since the beginning, as a fraction of the cores, 0 for none."""
        return load_between(self._begin, self._read(), len(self._cpus), os.sysconf("SC_CLK_TCK"))

    def _read(self) -> Clocks:
        # Our own time first: what we use between both readings then counts as load, never against it.
        own = own_ticks(self._roots, self._members, every_process(self._proc).values())
        with open(self._proc / "stat", "rb") as file:
            text = file.read(MAX_STAT_BYTES).decode("ascii", "replace")
        return Clocks(time.monotonic(), parse_busy_ticks(text, self._cpus), own)


def others_load(own_roots: Collection[int], cpus: Collection[int], seconds: float) -> float:
    """Return the load of others during the next seconds, as a fraction of the cores, 0 for none."""
    watch = QuietWatch(own_roots, cpus)
    time.sleep(seconds)
    return watch.load()


def wait_for_quiet(
    own_roots: Collection[int],
    cpus: Collection[int],
    limit: float = QUIET_LIMIT,
    patience_seconds: float = PATIENCE_SECONDS,
) -> float:
    """Wait until others use at most a limit of the cores, or patience ends; return the load last seen."""
    end = time.monotonic() + patience_seconds
    while True:
        load = others_load(own_roots, cpus, WINDOW_SECONDS)
        if load <= limit or time.monotonic() + WINDOW_SECONDS > end:
            return load

"""A process and everything that descends from it: who belongs to it, what memory and processor time it takes, its end.

Memory is what cannot be given back without ending a process: anonymous and shared pages, and both of them swapped out.
Pages of files do not count: the kernel drops them under pressure, and mapped weights would be counted against a limit
that no allocation of ours exceeds.

The counters of `status` say it in 15 to 30 microseconds a process, whatever its size. In a tree, pages shared after a
fork or through shared memory are in them once per process, so their sum is an upper bound. Only where that bound is
above the limit, each process is asked for its proportional share (`smaps_rollup`: every page divided by the number of
processes that map it): that walk of the page tables takes 6.8 ms for 400 MB and 24 ms for 1,600 MB (2-core AMD EPYC,
2026-11-21) and holds up the process that is looked at, which would spoil every measurement made in it.

Source:
    Linux, Documentation/filesystems/proc.rst, and proc_pid_stat(5).
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
MAX_FILE_BYTES: Final = 1 << 20
"""Most that is read of one file of a process; `children` of a process with 100,000 children fits. Unit: bytes."""
MEMORY_FIELDS: Final = ("RssAnon", "RssShmem", "VmSwap")
SHARE_FIELDS: Final = ("Pss_Anon", "Pss_Shmem", "SwapPss")
KILL_PASSES: Final = 100
"""Times that a dying tree is searched again, for processes that it started meanwhile."""
KILL_PAUSE_SECONDS: Final = 0.005
_GONE: Final = "ZX"
"""States of a process that has ended and only waits for its parent to ask."""


@dataclass(frozen=True)
class ProcessStat:
    """What `/proc/<pid>/stat` says of one process."""

    pid: int
    state: str
    """One letter, as the kernel writes it: R running, S sleeping, T stopped, Z ended."""
    parent: int
    session: int
    ticks: int
    """Processor time of its threads and of those of its children that have ended and been waited for."""
    started: int
    """When it started, in ticks since boot: tells it from a later process with the same number."""

    @property
    def lives(self) -> bool:
        """Whether it has not ended."""
        return self.state not in _GONE


def parse_stat(text: str) -> ProcessStat:
    """Return the fields of `/proc/<pid>/stat`.

    Raises:
        ValueError: The text is cut or no such line.
    """
    # The name stands in parentheses and may hold anything, parentheses and spaces included; the last one ends it.
    head, _, tail = text.rpartition(")")
    fields = tail.split()
    if len(fields) < 20 or "(" not in head:
        raise ValueError(f"no line of /proc/<pid>/stat: {text[:80]!r}")
    ticks = sum(int(field) for field in fields[11:15])
    return ProcessStat(int(head.split("(", 1)[0]), fields[0], int(fields[1]), int(fields[3]), ticks, int(fields[19]))


def parse_kilobytes(text: str, names: Iterable[str]) -> int:
    """Return the sum of some fields of `status` or `smaps_rollup`, which count in kB. Unit: bytes."""
    wanted = set(names)
    kilobytes = 0
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in wanted:
            kilobytes += int(rest.split()[0])
    return 1024 * kilobytes


def read_stat(pid: int, proc: Path = PROC) -> ProcessStat | None:
    """Return what is known of one process, or None when there is none."""
    text = _read(proc / str(pid) / "stat")
    return None if text is None else parse_stat(text)


def every_process(proc: Path = PROC) -> dict[int, ProcessStat]:
    """Return every process that this one can see, by number."""
    found = (read_stat(int(entry), proc) for entry in os.listdir(proc) if entry.isdigit())
    return {stat.pid: stat for stat in found if stat is not None}


def descendants(roots: Iterable[int], processes: Iterable[ProcessStat]) -> dict[int, ProcessStat]:
    """Return the roots and all that descend from them, those in a root's session included; pure.

    The session finds processes whose parent has ended: they become children of another process and stay in it.
    """
    by_pid = {stat.pid: stat for stat in processes}
    children: dict[int, list[int]] = {}
    for stat in by_pid.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    wanted = set(roots)
    waiting = [pid for pid, stat in by_pid.items() if pid in wanted or stat.session in wanted]
    found: dict[int, ProcessStat] = {}
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found[pid] = by_pid[pid]
            waiting.extend(children.get(pid, ()))
    return found


class ProcessTree:
    """The processes below one root, remembered: who was seen once stays a member, wherever it moves."""

    def __init__(self, root: int, proc: Path = PROC) -> None:
        self.root: Final = root
        self._proc: Final = proc
        self._seen: dict[int, int] = {}

    def members(self, *, everywhere: bool = False) -> list[ProcessStat]:
        """Return the living members.

        Args:
            everywhere: Search all processes of the machine, which finds strays of the root's session too, instead of
                walking from parents to children.
        """
        if everywhere:
            found = descendants([self.root, *self._seen], every_process(self._proc).values())
        else:
            found = {stat.pid: stat for stat in self._walk()}
        known = {**{pid: read_stat(pid, self._proc) for pid in self._seen if pid not in found}, **found}
        members = [
            stat
            for stat in known.values()
            if stat is not None and stat.lives and self._seen.get(stat.pid, stat.started) == stat.started
        ]
        self._seen = {stat.pid: stat.started for stat in members}
        return members

    def memory_bytes(self, limit_bytes: int | None = None) -> int:
        """Return the memory of all members: exact for one process, for several an upper bound up to the limit.

        Args:
            limit_bytes: Beyond it, pages that several members share are counted once; None: never. Unit: bytes.
        """
        members = self.members()
        bound = sum(self._counted(stat.pid) for stat in members)
        if len(members) <= 1 or limit_bytes is None or bound <= limit_bytes:
            return bound
        return sum(self._share(stat.pid) for stat in members)

    def kill(self) -> bool:
        """Kill every member, and what they start meanwhile; return whether none is left alive."""
        for _ in range(KILL_PASSES):
            members = self.members(everywhere=True)
            if not members:
                return True
            for stat in members:
                _kill(stat.pid)
            time.sleep(KILL_PAUSE_SECONDS)
        return False

    def _walk(self) -> Iterator[ProcessStat]:
        waiting = [self.root]
        while waiting:
            pid = waiting.pop()
            stat = read_stat(pid, self._proc)
            if stat is not None:
                yield stat
                waiting.extend(self._children(pid))

    def _children(self, pid: int) -> list[int]:
        # Children belong to the thread that started them.
        threads = self._proc / str(pid) / "task"
        try:
            names = os.listdir(threads)
        except OSError:
            return []
        return [int(child) for name in names for child in (_read(threads / name / "children") or "").split()]

    def _counted(self, pid: int) -> int:
        return parse_kilobytes(_read(self._proc / str(pid) / "status") or "", MEMORY_FIELDS)

    def _share(self, pid: int) -> int:
        rollup = _read(self._proc / str(pid) / "smaps_rollup")
        return parse_kilobytes(rollup, SHARE_FIELDS) if rollup else self._counted(pid)


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _read(path: Path) -> str | None:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(MAX_FILE_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        # It has ended, or belongs to somebody else.
        return None

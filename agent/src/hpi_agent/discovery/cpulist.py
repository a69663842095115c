"""Lists of processors the way the kernel writes them: `0-3,8,10-11`.

Source:
    Linux, Documentation/admin-guide/cputopology.rst, and cpuset(7), "List format".
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from hpi_agent.discovery.host_files import HostFiles

MAX_CPU: Final = 65_535
"""Highest processor number that is believed; Linux is built for 8,192 at most (x86_64 and aarch64, 6.x)."""

EXPECTED: Final = f"an ascending list of processors such as 0-3,8 with numbers up to {MAX_CPU}"

_RANGE: Final = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


def parse_cpulist(text: str) -> tuple[int, ...]:
    """Return the processor numbers of a list, ascending, each once; an empty list has none.

    Raises:
        ValueError: The text is no such list, is not in ascending order, or a number exceeds `MAX_CPU`.
    """
    cpus: list[int] = []
    if not text:
        return ()
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise ValueError(f"{part!r} is no range")
        first, last = int(match[1]), int(match[2] or match[1])
        # The kernel writes ascending ranges; insisting on it also bounds the work that a hostile list can ask for.
        if first > last or last > MAX_CPU or (cpus and first <= cpus[-1]):
            raise ValueError(f"{part!r} is out of order or exceeds {MAX_CPU}")
        cpus.extend(range(first, last + 1))
    return tuple(cpus)


def format_cpulist(cpus: Iterable[int]) -> str:
    """Return processor numbers as the shortest list; the inverse of `parse_cpulist`."""
    ranges: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if ranges and ranges[-1][1] == cpu - 1:
            ranges[-1][1] = cpu
        else:
            ranges.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def read_cpulist(files: HostFiles, path: str) -> tuple[int, ...] | None:
    """Return the processors that a file lists, or None when it is absent or unreadable.

    Raises:
        Refused: The file holds something else.
    """
    text = files.read_line(path)
    if text is None:
        return None
    try:
        return parse_cpulist(text)
    except ValueError as error:
        raise files.malformed(path, text, EXPECTED) from error

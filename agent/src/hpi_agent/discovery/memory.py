"""Main memory of the machine, and the part of it that the cgroups leave to this process."""

from __future__ import annotations

import re
from typing import Final

from hpi_agent.discovery.cgroup import ControlGroups, find_lineage
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.limits import tightest_memory_limit
from hpi_agent.profile import Memory

MEMINFO_FILE: Final = "/proc/meminfo"

_TOTAL: Final = re.compile(r"^MemTotal:[ \t]+([0-9]{1,15}) kB$", re.MULTILINE)


def read_memory(files: HostFiles, groups: ControlGroups) -> Memory:
    """Return the machine's memory and this process' limit; what is missing is None and noted.

    Raises:
        Refused: A file holds something else than the kernel writes.
    """
    lineage = find_lineage(files, groups, "memory")
    limit = None if lineage is None else tightest_memory_limit(files, lineage)
    return Memory(
        total_bytes=_total_bytes(files),
        limit_bytes=None if limit is None else limit[0],
        limit_file=None if limit is None else limit[1],
    )


def _total_bytes(files: HostFiles) -> int | None:
    text = files.read(MEMINFO_FILE)
    if text is None:
        files.note(f"{files.shown(MEMINFO_FILE)} is missing or unreadable: the size of the memory is not known")
        return None
    match = _TOTAL.search(text)
    if match is None:
        raise files.malformed(MEMINFO_FILE, text, "a line such as 'MemTotal: 16303428 kB'")
    return int(match[1]) * 1024

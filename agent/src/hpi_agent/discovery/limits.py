"""Limits that a cgroup and its ancestors put on this process: CPU time, processors, memory."""

from __future__ import annotations

import re
from typing import Final

from hpi_agent.discovery.cgroup import Lineage
from hpi_agent.discovery.cpulist import read_cpulist
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.profile import CpuQuota

UNLIMITED_V1_BYTES: Final = 2**63 - 2**16
"""From here on a version 1 memory limit means none: the kernel rounds 2**63 - 1 down to whole pages of up to 64 KiB."""

_CPU_MAX: Final = re.compile(r"(max|[0-9]{1,19}) ([0-9]{1,19})")
_MICROSECONDS: Final = re.compile(r"-?[0-9]{1,19}")
_BYTES: Final = re.compile(r"[0-9]{1,19}")

_CPUSET_FILES: Final = {1: ("cpuset.effective_cpus", "cpuset.cpus"), 2: ("cpuset.cpus.effective",)}


def tightest_quota(files: HostFiles, lineage: Lineage) -> CpuQuota | None:
    """Return the quota that allows the least CPU time in the whole lineage, or None when nothing limits it.

    Raises:
        Refused: A quota file holds something else.
    """
    read = _quota_v1 if lineage.version == 1 else _quota_v2
    tightest: CpuQuota | None = None
    for directory in lineage.directories:
        quota = read(files, directory)
        if quota is not None and (tightest is None or _is_tighter(quota, tightest)):
            tightest = quota
    return tightest


def effective_cpuset(files: HostFiles, lineage: Lineage) -> tuple[int, ...] | None:
    """Return the processors of the nearest cgroup that names any: effective sets already include the ancestors'.

    Raises:
        Refused: A file holds something else than a list of processors.
    """
    for directory in lineage.directories:
        for name in _CPUSET_FILES[lineage.version]:
            cpus = read_cpulist(files, f"{directory}/{name}")
            if cpus:
                return cpus
    return None


def tightest_memory_limit(files: HostFiles, lineage: Lineage) -> tuple[int, str] | None:
    """Return the smallest memory limit of the lineage in bytes and the file that says so, or None.

    Raises:
        Refused: A file holds something else than a number of bytes (or `max` in version 2).
    """
    name = "memory.limit_in_bytes" if lineage.version == 1 else "memory.max"
    limits = []
    for directory in lineage.directories:
        path = f"{directory}/{name}"
        text = files.read_line(path)
        if text is None or (lineage.version == 2 and text == "max"):
            continue
        if _BYTES.fullmatch(text) is None:
            raise files.malformed(path, text, "a number of bytes" + (" or max" if lineage.version == 2 else ""))
        if lineage.version == 2 or int(text) < UNLIMITED_V1_BYTES:
            limits.append((int(text), files.shown(path)))
    return min(limits, key=lambda limit: limit[0], default=None)


def _quota_v2(files: HostFiles, directory: str) -> CpuQuota | None:
    path = f"{directory}/cpu.max"
    text = files.read_line(path)
    if text is None:
        return None
    match = _CPU_MAX.fullmatch(text)
    if match is None or match[1] == "0" or int(match[2]) == 0:
        raise files.malformed(path, text, "a quota (or max) and a period in microseconds, both above 0")
    return None if match[1] == "max" else CpuQuota(2, int(match[1]), int(match[2]), files.shown(path))


def _quota_v1(files: HostFiles, directory: str) -> CpuQuota | None:
    path, period_path = f"{directory}/cpu.cfs_quota_us", f"{directory}/cpu.cfs_period_us"
    text = files.read_line(path)
    if text is None:
        return None
    if _MICROSECONDS.fullmatch(text) is None or int(text) == 0 or int(text) < -1:
        raise files.malformed(path, text, "a quota in microseconds above 0, or -1 for none")
    if int(text) == -1:
        return None
    period = files.read_line(period_path)
    if period is None or _MICROSECONDS.fullmatch(period) is None or int(period) <= 0:
        raise files.malformed(period_path, period or "", "a period in microseconds above 0")
    return CpuQuota(1, int(text), int(period), files.shown(path))


def _is_tighter(one: CpuQuota, other: CpuQuota) -> bool:
    # Cross-multiplied: a ratio of floats could call two different quotas equal.
    return one.quota_microseconds * other.period_microseconds < other.quota_microseconds * one.period_microseconds

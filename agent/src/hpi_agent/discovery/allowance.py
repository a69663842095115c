"""How many whole cores this process may keep busy, and what decides it.

No inference runtime looks at a cgroup's quota. With a quota of one core, a second thread of ONNX Runtime raised the p99
latency of MobileNetV3-small from 0.96 ms to 48 ms and lowered its throughput (two vCPUs of an AMD EPYC, November 2026),
so engines take their thread count from here.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from hpi_agent.discovery.cgroup import ControlGroups, find_lineage, read_control_groups
from hpi_agent.discovery.cpulist import EXPECTED, parse_cpulist, read_cpulist
from hpi_agent.discovery.host_files import HostFiles
from hpi_agent.discovery.limits import effective_cpuset, tightest_quota
from hpi_agent.profile import Bound, CpuAllowance, CpuQuota
from hpi_core.errors import Refused

STATUS_FILE: Final = "/proc/self/status"
ONLINE_FILE: Final = "/sys/devices/system/cpu/online"
CPUINFO_FILE: Final = "/proc/cpuinfo"

_AFFINITY: Final = re.compile(r"^Cpus_allowed_list:[ \t]*(.*)$", re.MULTILINE)
_PROCESSOR: Final = re.compile(r"^processor[ \t]*:[ \t]*([0-9]{1,5})$", re.MULTILINE)


def cpu_allowance(root: Path = Path("/")) -> CpuAllowance:
    """Return how many whole cores this process may keep busy; takes well under 5 ms.

    Raises:
        Refused: The root holds no description of processors, or a file in it is not what the kernel writes.
    """
    files = HostFiles(root)
    return read_allowance(files, read_control_groups(files))


def read_allowance(files: HostFiles, groups: ControlGroups) -> CpuAllowance:
    """Return the allowance from files that are already open to reading; `notes` holds all notes taken so far.

    Raises:
        Refused: See `cpu_allowance`.
    """
    online = read_online_cpus(files)
    affinity = _read_affinity(files)
    cpuset_lineage = find_lineage(files, groups, "cpuset")
    cpuset = None if cpuset_lineage is None else effective_cpuset(files, cpuset_lineage)
    quota_lineage = find_lineage(files, groups, "cpu")
    quota = None if quota_lineage is None else tightest_quota(files, quota_lineage)
    whole_cores, bound_by = bind_cores(
        len(online),
        _usable(files, online, cpuset, "CPU set"),
        _usable(files, online, affinity, "affinity mask"),
        quota,
    )
    if quota is not None and bound_by.startswith("quota"):
        _note_fraction(files, quota)
    return CpuAllowance(whole_cores, bound_by, online, cpuset, affinity, quota, tuple(files.notes))


def bind_cores(online: int, cpuset: int | None, affinity: int | None, quota: CpuQuota | None) -> tuple[int, Bound]:
    """Return the whole cores left and the limit that decides.

    Args:
        online: Processors online, at least 1.
        cpuset: Processors of the cgroup's CPU set, at least 1; None when it is not known.
        affinity: Processors of the affinity mask, at least 1; None when it is not known.
        quota: The tightest quota; None when there is none. Less than one core counts as one.

    Returns:
        The smallest of all, and its name. Of equal limits the outermost is named: raising an inner one would not help.
    """
    limits: list[tuple[int, Bound]] = [(online, "online")]
    if cpuset is not None:
        limits.append((cpuset, "cpuset"))
    if affinity is not None:
        limits.append((affinity, "affinity"))
    if quota is not None:
        limits.append((max(1, quota.whole_cores), "quota v1" if quota.version == 1 else "quota v2"))
    return min(limits, key=lambda limit: limit[0])


def read_online_cpus(files: HostFiles) -> tuple[int, ...]:
    """Return the processors that are online, at least one.

    Raises:
        Refused: Neither /sys nor /proc below the root describes a processor.
    """
    online = read_cpulist(files, ONLINE_FILE)
    if online:
        return online
    text = files.read(CPUINFO_FILE)
    if text is None:
        raise Refused(
            f"neither {files.shown(ONLINE_FILE)} nor {files.shown(CPUINFO_FILE)} describes a processor; "
            "name a host root that holds the proc and sys of a Linux host"
        )
    listed = tuple(sorted({int(number) for number in _PROCESSOR.findall(text)}))
    if not listed:
        raise files.malformed(CPUINFO_FILE, text, "lines such as 'processor : 0'")
    files.note(f"{files.shown(ONLINE_FILE)} names no processor: they are counted in {files.shown(CPUINFO_FILE)}")
    return listed


def _read_affinity(files: HostFiles) -> tuple[int, ...] | None:
    text = files.read(STATUS_FILE)
    match = None if text is None else _AFFINITY.search(text)
    if match is None:
        files.note(f"{files.shown(STATUS_FILE)} has no Cpus_allowed_list: the affinity mask is not known")
        return None
    try:
        cpus = parse_cpulist(match[1])
    except ValueError as error:
        raise files.malformed(STATUS_FILE, match[0], f"Cpus_allowed_list to be {EXPECTED}") from error
    if not cpus:
        raise files.malformed(STATUS_FILE, match[0], "Cpus_allowed_list to name at least one processor")
    return cpus


def _usable(files: HostFiles, online: tuple[int, ...], cpus: tuple[int, ...] | None, name: str) -> int | None:
    """Return how many online processors a mask leaves; masks may name processors that do not exist."""
    if cpus is None:
        return None
    both = len(set(online).intersection(cpus))
    if both == 0:
        # LXCFS renumbers the processors in /sys from 0 but not those of the masks: their number is right all the same.
        files.note(f"the {name} names no processor that is online: only its size is used")
    return both or len(cpus)


def _note_fraction(files: HostFiles, quota: CpuQuota) -> None:
    if quota.whole_cores == 0:
        files.note(
            f"the quota of {quota.millicores}m in {quota.file} is less than one core: "
            "one thread is used and will be throttled; raise the CPU limit to at least 1"
        )
    elif quota.quota_microseconds % quota.period_microseconds:
        files.note(
            f"the quota of {quota.millicores}m in {quota.file} is no whole number of cores: {quota.whole_cores} are "
            "used, because one thread more would be throttled; a whole CPU limit leaves nothing unused"
        )

"""Facts of one machine: processors, the part of them that this process may use, memory, accelerators."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hpi_agent.profile.accelerators import AscendDriver, AscendNpu, Cann, NvidiaDriver, NvidiaGpu

Architecture = Literal["x86_64", "aarch64"]
"""Instruction set architectures that engines exist for."""

Bound = Literal["online", "cpuset", "affinity", "quota v1", "quota v2"]
"""What limits the cores of a process: the machine, the cgroup's CPU set, the affinity mask, or the cgroup's quota."""


@dataclass(frozen=True)
class Cpu:
    """The processors of a machine, whoever may use them."""

    architecture: Architecture | None
    vendor: str | None
    model_name: str | None
    isa_level: str | None
    """x86-64-v1 to x86-64-v4; on aarch64 the widest vector extension: asimd, sve or sve2."""
    isa_flags: tuple[str, ...]
    """Flags that some engine's kernels depend on and that every processor has, in the order of `discovery.cpu`."""
    physical_cores: int | None
    logical_cpus: int
    """Processors online: hardware threads, not cores."""
    possible_cpus: int | None


@dataclass(frozen=True)
class NumaNode:
    """One memory node and the processors next to it; a node of memory alone has none."""

    index: int
    cpus: tuple[int, ...]


@dataclass(frozen=True)
class CpuQuota:
    """CPU time that a cgroup may use in each period."""

    version: Literal[1, 2]
    quota_microseconds: int
    period_microseconds: int
    file: str
    """The file that says so, as a path of this program's own view."""

    @property
    def millicores(self) -> int:
        """Thousandths of a core, rounded down; exact for every quota that Kubernetes writes."""
        return self.quota_microseconds * 1000 // self.period_microseconds

    @property
    def whole_cores(self) -> int:
        """Cores that the quota pays for entirely; 0 when it is less than one."""
        return self.quota_microseconds // self.period_microseconds


@dataclass(frozen=True)
class CpuAllowance:
    """How many cores this process may keep busy, and why no more."""

    whole_cores: int
    """At least 1. Threads of one inference beyond this number are throttled or take turns."""
    bound_by: Bound
    online_cpus: tuple[int, ...]
    cpuset_cpus: tuple[int, ...] | None
    affinity_cpus: tuple[int, ...] | None
    quota: CpuQuota | None
    """The tightest quota of the process' cgroup and of all its ancestors that can be seen."""
    notes: tuple[str, ...] = ()

    @property
    def usable_cpus(self) -> frozenset[int]:
        """Online processors that the CPU set and the affinity mask leave."""
        usable = frozenset(self.online_cpus)
        for cpus in (self.cpuset_cpus, self.affinity_cpus):
            usable = usable if cpus is None else usable & frozenset(cpus)
        return usable


@dataclass(frozen=True)
class Memory:
    """Main memory of the machine and the part of it that this process may use. Unit: bytes."""

    total_bytes: int | None
    limit_bytes: int | None
    """The tightest limit of the process' cgroup and its visible ancestors; None when there is none."""
    limit_file: str | None

    @property
    def available_bytes(self) -> int | None:
        """What this process may use at most: the smaller of total and limit, of those that are known."""
        return min((size for size in (self.total_bytes, self.limit_bytes) if size is not None), default=None)


@dataclass(frozen=True)
class Machine:
    """Everything that `detect` found out below one root path."""

    host_root: str
    cpu: Cpu
    allowance: CpuAllowance
    numa_nodes: tuple[NumaNode, ...]
    """Empty when the kernel describes none."""
    memory: Memory
    notes: tuple[str, ...]
    """What could not be read or is unusual, one sentence each; empty on an ordinary machine."""
    nvidia_driver: NvidiaDriver | None = None
    """None: there is no sign of one."""
    gpus: tuple[NvidiaGpu, ...] = ()
    """Those that this process may see, by `index`; faulty ones too."""
    ascend_driver: AscendDriver | None = None
    """None: there is no sign of one."""
    cann: Cann | None = None
    npus: tuple[AscendNpu, ...] = ()
    """Those that this process may see, by `index`; faulty ones too."""

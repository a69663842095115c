"""The facts of a machine, and the hardware class that follows from them; pure.

`hpi_agent.discovery` reads the facts. A hardware class is what a measured decision is remembered under: two machines of
one class are expected to choose the same engine, so it holds what moves that choice and leaves out what does not (the
clock, the kernel, the exact number of bytes).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal

from hpi_core.digest import digest_of_json

Architecture = Literal["x86_64", "aarch64"]
"""Instruction set architectures that engines exist for."""

Bound = Literal["online", "cpuset", "affinity", "quota v1", "quota v2"]
"""What limits the cores of a process: the machine, the cgroup's CPU set, the affinity mask, or the cgroup's quota."""

HARDWARE_CLASS_FORMAT: Final = 1
"""Version of the canonical form of `HardwareClass`; a change of meaning gets a new number, and so new digests."""


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


@dataclass(frozen=True)
class AcceleratorClass:
    """What two accelerators must share to run the same engine. None stands for what could not be found out."""

    vendor: Literal["NVIDIA", "Ascend"]
    product: str | None
    """The vendor's name without what sharing adds to it, such as `NVIDIA A100-SXM4-40GB` or `Ascend910B3`."""
    compute_capability: str | None = None
    """Of NVIDIA, such as `8.6`."""
    chip: str | None = None
    """Of Ascend, the SoC version as ATC takes it, such as `Ascend310P3`."""
    memory_gibibytes: int | None = None
    """Memory of the device or of the slice of it, rounded down."""
    slice: str | None = None
    """The part of the device that is had: a MIG profile (`1g.10gb`), a vNPU template (`vir04`); None: all of it."""
    driver: str | None = None
    """Version of the kernel driver, whole; engines do not carry over between its patch levels."""
    toolkit: str | None = None
    """Newest CUDA that the driver serves (`12.4`), or the installed CANN (`8.0.RC3`)."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "vendor": self.vendor,
            "product": self.product,
            "computeCapability": self.compute_capability,
            "chip": self.chip,
            "memoryGibibytes": self.memory_gibibytes,
            "slice": self.slice,
            "driver": self.driver,
            "toolkit": self.toolkit,
        }


@dataclass(frozen=True)
class HardwareClass:
    """What two machines must share to choose the same engine."""

    architecture: Architecture | None
    vendor: str | None
    isa_level: str | None
    isa_flags: tuple[str, ...]
    """Sorted."""
    threads: int
    """Whole cores left to this process."""
    numa_nodes: int
    """Memory nodes whose processors this process may use; 1 when the kernel describes none."""
    memory_gibibytes: int | None
    """Memory available to this process, rounded down: machines of one model differ by some megabytes."""
    accelerator: AcceleratorClass | None = None
    """What computes beside the processors; None: they compute alone, whatever else the machine has."""

    def to_json(self) -> dict[str, Any]:
        """Return the JSON form; its canonical spelling (`hpi_core.digest`) is what `digest` hashes."""
        return {
            "formatVersion": HARDWARE_CLASS_FORMAT,
            "device": "cpu",
            "architecture": self.architecture,
            "vendor": self.vendor,
            "isaLevel": self.isa_level,
            "isaFlags": list(self.isa_flags),
            "threads": self.threads,
            "numaNodes": self.numa_nodes,
            "memoryGibibytes": self.memory_gibibytes,
        }

    @property
    def digest(self) -> str:
        """`sha256:<hex>` of the canonical JSON form."""
        return digest_of_json(self.to_json())


def hardware_class(machine: Machine) -> HardwareClass:
    """Return the hardware class of a machine as this process may use it."""
    usable = machine.allowance.usable_cpus
    nodes = sum(1 for node in machine.numa_nodes if usable.intersection(node.cpus))
    available = machine.memory.available_bytes
    return HardwareClass(
        architecture=machine.cpu.architecture,
        vendor=machine.cpu.vendor,
        isa_level=machine.cpu.isa_level,
        isa_flags=tuple(sorted(machine.cpu.isa_flags)),
        threads=machine.allowance.whole_cores,
        numa_nodes=max(1, nodes),
        memory_gibibytes=None if available is None else available >> 30,
    )
